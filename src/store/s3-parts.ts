/**
 * The parts of the AWS SDK that sign and send a request: all that s3-plain-get.ts needs of it. In a module of their own,
 * which build.mjs bundles apart: what is shared with the SDK's client would be spread over its files, and drag them along.
 */
export { Sha256 } from '@smithy/core/checksum'
export { HttpRequest } from '@smithy/core/protocols'
export { NodeHttpHandler, type NodeHttpHandlerOptions } from '@smithy/node-http-handler'
export { SignatureV4 } from '@smithy/signature-v4'
