/**
 * Finds the server among the hosts of a target, as libpq does: they are tried in order, and the first that answers and
 * is what target_session_attrs asks for is taken. A host that cannot be reached, or that says "not now", is passed over;
 * one that refuses us ends the search, because it would hide a mistake to go on (documentation, section "Specifying
 * Multiple Hosts").
 */
import { withDeadline } from '../kit/abort.ts'
import { WalferryError } from '../kit/errors.ts'
import { serverError } from './server-errors.ts'
import { openSession, type Session, type SessionOptions } from './session.ts'
import { type Demand, misfit, readStanding } from './standing.ts'
import { describeHost, describeTarget, type Host, type SessionAttrs, type Target } from './target.ts'

/** Throws PG_CONNECTION_LOST, PG_REFUSED, PG_PROTOCOL, BAD_INPUT (unreadable certificate files). */
export async function connect(target: Target, options: SessionOptions, signal: AbortSignal): Promise<Session> {
  let failures: WalferryError[] = []
  for (const wanted of roundsOf(target.sessionAttrs)) {
    failures = []
    for (const host of target.hosts) {
      try {
        return await connectTo(target, host, wanted, options, signal)
      } catch (error) {
        signal.throwIfAborted()
        const failure = serverError(error, `connect to ${describeHost(host)}`)
        failures.push(failure)
        if (!failure.retryable) throw together(target, failures)
      }
    }
  }
  throw together(target, failures)
}

/** prefer-standby looks for a standby among all hosts, and then takes what there is. */
function roundsOf(wanted: SessionAttrs): Demand[] {
  return wanted === 'prefer-standby' ? ['standby', 'any'] : [wanted]
}

async function connectTo(
  target: Target,
  host: Host,
  wanted: Demand,
  options: SessionOptions,
  signal: AbortSignal,
): Promise<Session> {
  const open = async (inner: AbortSignal): Promise<Session> => {
    const session = await openSession(target, host, options, inner)
    try {
      if (wanted !== 'any') await demand(wanted, session, inner)
      return session
    } catch (error) {
      await session.close()
      throw error
    }
  }
  const seconds = target.connectTimeoutSeconds
  if (seconds === 0) return await open(signal)
  const late = (): Error =>
    new WalferryError('PG_CONNECTION_LOST', `cannot connect to ${describeHost(host)}: no answer within ${seconds} s`, {
      retryable: true,
    })
  return await withDeadline(seconds * 1000, signal, late, open)
}

async function demand(wanted: Demand, session: Session, signal: AbortSignal): Promise<void> {
  const reason = misfit(wanted, await readStanding(session, signal))
  if (reason === null) return
  throw new WalferryError('PG_CONNECTION_LOST', `cannot use ${session.host}: ${reason}`, {
    retryable: true,
    hint: `target_session_attrs asks for ${wanted}. Are all hosts named, and is one of them that now?`,
  })
}

/**
 * One error of them all. Its code and hint are those of the host that refused us, because no waiting mends that; it is
 * retryable if a host may come back that was passed over.
 */
function together(target: Target, failures: readonly WalferryError[]): WalferryError {
  const [first] = failures
  const chief = failures.find((failure) => !failure.retryable) ?? failures.find((failure) => failure.hint) ?? first
  if (chief === undefined) throw new Error('unreachable: a target has a host')
  if (failures.length === 1) return chief
  const { code, fields, hint } = chief
  const reasons = failures.map((failure) => failure.message).join('; ')
  return new WalferryError(code, `found no server among ${describeTarget(target)}: ${reasons}`, {
    fields,
    retryable: failures.some((failure) => failure.retryable),
    ...(hint === undefined ? {} : { hint }),
    cause: chief,
  })
}
