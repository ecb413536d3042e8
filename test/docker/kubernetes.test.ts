/** docker/kubernetes, as kubectl renders it: no cluster runs here. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import * as v from 'valibot'
import type { Config, OptionName } from '../../src/cli/options.ts'
import { tempFolder } from '../support/temp.ts'
import { configured, documents, root } from './command-line.ts'

const probe = v.object({ httpGet: v.object({ path: v.string(), port: v.string() }) })
const container = v.object({
  image: v.string(),
  args: v.array(v.string()),
  env: v.array(v.object({ name: v.string(), value: v.optional(v.string()) })),
  ports: v.optional(v.array(v.object({ name: v.string(), containerPort: v.number() })), []),
  securityContext: v.object({
    allowPrivilegeEscalation: v.literal(false),
    readOnlyRootFilesystem: v.literal(true),
    capabilities: v.object({ drop: v.tuple([v.literal('ALL')]) }),
  }),
  livenessProbe: v.optional(probe),
  readinessProbe: v.optional(probe),
  volumeMounts: v.array(v.object({ name: v.string(), mountPath: v.string() })),
})
const pod = v.object({
  containers: v.array(container),
  securityContext: v.object({
    runAsNonRoot: v.literal(true),
    runAsUser: v.pipe(v.number(), v.minValue(1)),
    seccompProfile: v.object({ type: v.literal('RuntimeDefault') }),
  }),
  automountServiceAccountToken: v.literal(false),
  terminationGracePeriodSeconds: v.optional(v.number()),
  affinity: v.optional(v.unknown()),
})
const template = v.object({ spec: pod })
const statefulSet = v.object({
  kind: v.literal('StatefulSet'),
  spec: v.object({
    replicas: v.number(),
    podManagementPolicy: v.string(),
    serviceName: v.string(),
    template,
    volumeClaimTemplates: v.array(v.object({ metadata: v.object({ name: v.string() }) })),
  }),
})
const cronJob = v.object({
  kind: v.literal('CronJob'),
  spec: v.object({ jobTemplate: v.object({ spec: v.object({ template }) }) }),
})
const configMap = v.object({ kind: v.literal('ConfigMap'), data: v.record(v.string(), v.string()) })
const service = v.object({
  kind: v.literal('Service'),
  metadata: v.object({ name: v.string(), annotations: v.record(v.string(), v.string()) }),
  spec: v.object({
    clusterIP: v.string(),
    publishNotReadyAddresses: v.boolean(),
    ports: v.array(v.object({ port: v.number() })),
  }),
})

/** The one document of this kind. */
function only<T extends v.GenericSchema<unknown, unknown>>(schema: T, rendered: readonly unknown[]): v.InferOutput<T> {
  const kind = v.object({ kind: v.string() })
  const wanted = rendered.filter((one) => v.is(schema, one))
  assert.equal(wanted.length, 1, rendered.map((one) => v.parse(kind, one).kind).join(', '))
  return v.parse(schema, wanted[0])
}

function render(overlay: string): unknown[] {
  return documents(
    execFileSync('kubectl', ['kustomize', join(root, 'docker/kubernetes', overlay)], { encoding: 'utf8' }),
  )
}

/** What a container's command line means, with the file of the ConfigMap where the container sees it. */
async function configuredIn(
  t: TestContext,
  { args, env }: v.InferOutput<typeof container>,
  rendered: readonly unknown[],
): Promise<Config<OptionName>> {
  const folder = await tempFolder(t)
  for (const [name, text] of Object.entries(only(configMap, rendered).data)) writeFileSync(join(folder, name), text)
  const line = args.map((arg) => arg.replace(/^\/etc\/walferry\//, `${folder}/`))
  return await configured(line, Object.fromEntries(env.map(({ name, value }) => [name, value ?? 'secret'])))
}

const skip =
  spawnSync('kubectl', ['version', '--client']).status === 0 ? false : 'kubectl, which renders it, is not there'

describe('in Kubernetes', { skip }, () => {
  for (const overlay of ['base', 'ha']) {
    describe(`the receivers of ${overlay}`, () => {
      const rendered = skip === false ? render(overlay) : []
      const set = (): v.InferOutput<typeof statefulSet>['spec'] => only(statefulSet, rendered).spec
      const receiver = (): v.InferOutput<typeof container> => v.parse(container, set().template.spec.containers[0])

      test('take their command line, their variables and their file', async (t) => {
        const config = await configuredIn(t, receiver(), rendered)
        assert.deepEqual(config.listen, { host: '0.0.0.0', port: 9868 })
        const graceMs = (set().template.spec.terminationGracePeriodSeconds ?? 30) * 1000
        assert.ok(graceMs > config['drain-timeout'], `killed after ${graceMs} ms, while it drains`)
        const [claim] = set().volumeClaimTemplates
        const { mountPath } = receiver().volumeMounts.find(({ name }) => name === claim?.metadata.name) ?? {}
        assert.ok(config.spool.startsWith(`${mountPath}/`), `${config.spool} is no folder of the volume`)
      })

      test('are asked where they listen, and scraped also when they are not ready', () => {
        const { ports, livenessProbe, readinessProbe } = receiver()
        assert.deepEqual(ports, [{ name: 'metrics', containerPort: 9868 }])
        assert.deepEqual(livenessProbe?.httpGet, { path: '/healthz', port: 'metrics' })
        // Of two receivers one always waits for the slot: as "not ready" it would hold up every roll-out and drain.
        const path = overlay === 'ha' ? '/healthz' : '/readyz'
        assert.deepEqual(readinessProbe?.httpGet, { path, port: 'metrics' })
        const { metadata, spec } = only(service, rendered)
        assert.equal(metadata.name, set().serviceName)
        assert.deepEqual(metadata.annotations, {
          'prometheus.io/scrape': 'true',
          'prometheus.io/port': '9868',
          'prometheus.io/path': '/metrics',
        })
        assert.deepEqual(spec, { clusterIP: 'None', publishNotReadyAddresses: true, ports: [{ port: 9868 }] })
      })
    })
  }

  test('two receivers share a slot, acknowledge what the store has, and leave backups to one job', async (t) => {
    const rendered = render('ha')
    const { replicas, podManagementPolicy, template: of } = only(statefulSet, rendered).spec
    assert.equal(replicas, 2)
    assert.equal(podManagementPolicy, 'Parallel')
    const config = await configuredIn(t, v.parse(container, of.spec.containers[0]), rendered)
    assert.equal(config.ack, 'store')
    assert.equal(config['backup-schedule'], undefined)
    const job = only(cronJob, rendered).spec.jobTemplate.spec.template.spec
    const backup = v.parse(container, job.containers[0])
    assert.equal(backup.args[0], 'backup')
    assert.equal((await configuredIn(t, backup, rendered)).slot, undefined)
    assert.equal(backup.image, of.spec.containers[0]?.image)
  })
})
