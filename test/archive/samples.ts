/**
 * Small objects that the usual tools wrote: lz4 1.9.4, zstd 1.5.4, gzip 1.12, brotli 1.0.9. Independent of our own
 * writers, and of what is installed where the tests run.
 */

/** What the samples decompress to: lines of text, the same every 300 bytes, but for one byte in 7,000. */
export function samplePlain(bytes: number): Buffer {
  let text = ''
  for (let line = 0; text.length < 300; line++) text += `record ${(line * line * 31) % 9973} of page ${line >> 3}\n`
  const period = Buffer.from(text.slice(0, 300))
  const plain = Buffer.alloc(bytes, period)
  for (let at = 0; at < bytes; at += 7000) plain[at] = at / 7000
  return plain
}

export interface Sample {
  /** The tool and its options. */
  readonly by: string
  readonly key: string
  readonly plain: Buffer
  readonly bytes: Buffer
}

const small = samplePlain(600)
const large = samplePlain(140_000)

function sample(by: string, extension: string, plain: Buffer, base64: string): Sample {
  return { by, key: `sample.${extension}`, plain, bytes: Buffer.from(base64, 'base64') }
}

/** `lz4 -B4 -BD --content-size` */
export const lz4Linked = sample(
  'lz4 -B4 -BD --content-size',
  'lz4',
  large,
  'BCJNGExA4CICAAAAAAD90AEAAPIFAGVjb3JkIDAgb2YgcGFnZSAwCnITAC4zMRQAPjEyNBUAPjI3ORUAPjQ5NhUAPjc3NRUAPzEx' +
    'MSsAAD8xNTFWAAA2MTk4gQAUMaoANjI1MawABRYANjMxMNYABhYALzc1LAAAPzQ0NlgAADY1MjOEADMxCnIZAQZWAA8sAf//////' +
    '////////////////////////////IhQBnRoP9Br///////////////////////////////////IFDzUP9BpIFAKoNgbSNQ/oNf//' +
    '////////////////////////////////hA/0GlEFNFEP9BpIEgP1UQ/cUP//////////////////////////////////LA/0GrUP' +
    '0GtRHwQIUv///////////////////////////////////18fBQhS////////////////////////////////////Xx8GCFL/////' +
    '//////////////////////////////9fHwcIUv///////////////////////////////////18fCAhS////////////////////' +
    '////////////////Xx8JCFL////////////YUDExNiBvNgEAAAz2/w94////////////////////////Xh8KCFL/////////////' +
    '//////////////////////9fHwsIUv///////////////////////////////////18fDAhS////////////////////////////' +
    '////////Xx8NCFL///////////////////////////////////9fHw4IUv///////////////////////////////////18fDwhS' +
    '////////////////////////////////////Xx8QCFL///////////////////////////////////9fHxEIUv//////////////' +
    '/////////////////////18fEghS/////////////////////////8pQb2YgcGGJAAAARGdlIDGDSlc1MjM5IDgvH3LsE///////' +
    '//9fFBOFBzU3NzWEBxQwFQBPMTExNhYAACY1MbAHBiwANTk4NCwABdwHTjI1MTEWAE8zMTAwFgAALzc1LAAAPzQ0NlgAAA80CP//' +
    '//////9wBfMHDzQI/////////////////////////xZQIDI1MTEAAAAAwSOHLQ==',
)

/** `lz4 -B4 -BX` */
export const lz4BlockSums = sample(
  'lz4 -B4 -BX',
  'lz4',
  large,
  'BCJNGHRAvdABAADyBQBlY29yZCAwIG9mIHBhZ2UgMApyEwAuMzEUAD4xMjQVAD4yNzkVAD40OTYVAD43NzUVAD8xMTErAAA/MTUx' +
    'VgAANjE5OIEAFDGqADYyNTGsAAUWADYzMTDWAAYWAC83NSwAAD80NDZYAAA2NTIzhAAzMQpyGQEGVgAPLAH/////////////////' +
    '/////////////////yIUAZ0aD/Qa///////////////////////////////////yBQ81D/QaSBQCqDYG0jUP6DX/////////////' +
    '/////////////////////4QP9BpRBTRRD/QaSBID9VEP3FD//////////////////////////////////ywP9Bq1D9BrUR8ECFL/' +
    '//////////////////////////////////9fHwUIUv///////////////////////////////////18fBghS////////////////' +
    '////////////////////Xx8HCFL///////////////////////////////////9fHwgIUv//////////////////////////////' +
    '/////18fCQhS////////////2FAxMTYgb9F3gOfLAQAA/QdmIHBhZ2UgMApyZWNvcmQgMTUxOSBvFgA1OTg0FgAUMSwATjI1MTEW' +
    'AE8zMTAwFgAALzc1LAAAPzQ0NlgAADY1MjOEADMxCnKbAAZWAAWuABYzVAAFFAAmMTJTAAUVACYyN1IABRUANTQ5NqkABRUAPjc3' +
    'NRUAPzExMSsAAA8sAf////////////////////8xFAo9EQ9oEP////////////////////9cD9Ag/////////////+cUC7QsBZ4s' +
    'D4gs//////////////////////8cDyAc/////////////x8SDBdID3xH/////////////////////8IP9Br/////////////Hw9w' +
    'YlEfDQhS////////////////////////////////////Xx8OCFL///////////////////////////////////9fHw8IUv//////' +
    '/////////////////////////////18fEAhS////////////////////////////////////Xx8RCFL/////////////////////' +
    '//////////////9fHxIIUv/////////////////////////KUG9mIHBhawpUBrMAAADyB2dlIDEKcmVjb3JkIDUyMzkgb2YgcGEW' +
    'AAMXABUwFAAUMCoALjMxFAA+MTI0FQAmMjdSAAU+AD40OTYqAD43NzUVAD8xMTErAAA/MTUxVgAANjE5OIEABdQANjI1MawABRYA' +
    'NjMxMNYABhYALzc1LAAAPzQ0NlgAAA8sAf///////0MUE1sHDwgH////////8gUlDg8IB///////////////////////////Q1Ag' +
    'MjUxMfMAkhoAAAAAwSOHLQ==',
)

/** `lz4 --no-frame-crc` */
export const lz4Unchecked = sample(
  'lz4 --no-frame-crc',
  'lz4',
  small,
  'BCJNGGBAgoYAAADyBQBlY29yZCAwIG9mIHBhZ2UgMApyEwAuMzEUAD4xMjQVAD4yNzkVAD40OTYVAD43NzUVAD8xMTErAAA/MTUx' +
    'VgAANjE5OIEAFDGqADYyNTGsAAUWADYzMTDWAAYWAC83NSwAAD80NDZYAAA2NTIzhAAzMQpyGQEGVgAPLAH/BFBlIDEKcgAAAAA=',
)

/** `lz4 -9` */
export const lz4Small = sample(
  'lz4 -9',
  'lz4',
  small,
  'BCJNGGRAp3sAAADyBQBlY29yZCAwIG9mIHBhZ2UgMApyEwAuMzEUAD4xMjQVAD4yNzkVAD40OTYVAD83NzVUAAAvMTErAAA/MTUx' +
    'VgAANjE5OIEAFTGBAD41MTEWAE8zMTAwFgAALzc1LAAAPzQ0NlgAAEg1MjM5FgAfciwB/xRQZSAxCnIAAAAABUQ0uw==',
)

/** `zstd` */
export const zstSmall = sample(
  'zstd',
  'zst',
  small,
  'KLUv/WRYAW0DAOQDAGVjb3JkIDAgb2YgcGFnZSAwCnIzMTEyNDI3OTQ5Njc3NTExMTE1MTE5ODE1MTEzMTAxNzU0NDY0NTIzOXIS' +
    'ACgvSxWAI8AjTyWEwrJmOyDiZTZCYQTbXBYS51TigOeA54DncHrupm9smHfeLpl/',
)

/** `zstd --no-check` */
export const zstUnchecked = sample(
  'zstd --no-check',
  'zst',
  small,
  'KLUv/WBYAW0DAOQDAGVjb3JkIDAgb2YgcGFnZSAwCnIzMTEyNDI3OTQ5Njc3NTExMTE1MTE5ODE1MTEzMTAxNzU0NDY0NTIzOXIS' +
    'ACgvSxWAI8AjTyWEwrJmOyDiZTZCYQTbXBYS51TigOeA54DncHrupm9smHc=',
)

/** `zstd -c < large` */
export const zstStreamed = sample(
  'zstd -c < large',
  'zst',
  large,
  'KLUv/QRYNAcAwoUUGmBXOmAQyQKCIIrbSiLl3gwcRZf+43GoNSIBhzzqeIPRxRWJoiMONbxA6OCCQAFfKuE1d5iulY2OLBttGzOb' +
    'dSvTJVsd1RyL5GKVx2qUPxOHCTwgoOOkDaDSC4p6ILqHBijqoeieoaiCov2hVBlEu2mBUj0U7RmKKii6PxSVQbRbLVDUQ9GeoVQF' +
    'RftDURlEd9MCRT0U3TMUVVC0P5Qqg2g3LVCqh6I9Q1EFRfeHojKIdqsFinoo2jOUqQqKvvQXR4JHXsIsLHu7IuJlIxRGkJvLSOJc' +
    '4nrOc+w5NM/d+8aGfwd9AAAYZxMwA1ABACjao6iE/wHVEBIY',
)

/** `gzip -9 -n` */
export const gzSmall = sample(
  'gzip -9 -n',
  'gz',
  small,
  'H4sIAAAAAAACA+3QsQ2AMAwEQGqm8Aj5xE7wOAgCZVD2LyiQAMkuGID29Hq9fqhL6ysFahsd814pjP2iBGuIbDEWtciaLZYiTifg' +
    'RCFwWqHTMwD3AAGsJoTgaBEny5ydXolJ39r/rz5/dQLkGuO6WAIAAA==',
)

/** `brotli` */
export const brSmall = sample(
  'brotli',
  'br',
  small,
  'obgSwC8228yWRIgcHDBadPoa3wG5OJwFIE/dyALQMAw1UKsLEGGWap6Ode95RGW/8l/fEj2nxmGAEVg1sBOqYgOQINB1qoCxAJxD' +
    'FSpgyGQK8/7yTA==',
)
