/** How a place in S3 is written: `s3://bucket`, or `s3://bucket/some/prefix`. */

/** Without slashes at its ends. "" is the bucket as a whole. */
export function trimmedPrefix(prefix: string | undefined): string {
  return (prefix ?? '').replace(/^\/+|\/+$/g, '')
}

/** `prefix` is trimmed. */
export function s3Url(bucket: string, prefix: string): string {
  return prefix === '' ? `s3://${bucket}` : `s3://${bucket}/${prefix}`
}

/** What is signed for, where an endpoint of one's own is given and no region. */
export const ownRegion = 'us-east-1'
