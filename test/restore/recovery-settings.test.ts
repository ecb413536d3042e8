import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeSettings, type SettingsAsked } from '../../src/restore/recovery-settings.ts'

const asked: SettingsAsked = {
  recovery: [
    ['recovery_target_lsn', '0/3000000'],
    ['recovery_target_timeline', '2'],
  ],
  restoreCommand: 'walferry-fetch %f %p',
  recoveryEndCommand: 'walferry-fetch --cleanup',
  primaryConninfo: null,
  keepArchiving: false,
  keepSettings: false,
}

const copy = { isStandby: false, hasSubscriptions: false }
const silent = {
  archive_mode: 'off',
  synchronous_standby_names: '',
  primary_slot_name: '',
  max_logical_replication_workers: '0',
}
const nothing = {
  recovery_target: '',
  recovery_target_time: '',
  recovery_target_xid: '',
  recovery_target_name: '',
  recovery_target_inclusive: 'on',
  recovery_target_action: 'pause',
  recovery_min_apply_delay: '0',
  archive_cleanup_command: '',
  primary_conninfo: '',
}
const recovery = {
  ...nothing,
  restore_command: 'walferry-fetch %f %p',
  recovery_end_command: 'walferry-fetch --cleanup',
  recovery_target_lsn: '0/3000000',
  recovery_target_timeline: '2',
}

test('a restored server recovers, and neither archives nor waits for standbys of the original', () => {
  assert.deepEqual(makeSettings(asked, copy, '', ''), { settings: { ...silent, ...recovery }, notes: [] })
})

test('what the original had is told, the last value of the last file', () => {
  const conf =
    "archive_mode = on # always\n#primary_slot_name = 'x'\nsynchronous_standby_names 'a'\nSynchronous_Standby_Names='b'\n"
  const { notes } = makeSettings(asked, copy, conf, "primary_slot_name = 'it''s'\narchive_mode = 'always'\n")
  assert.deepEqual(
    notes.map((note) => note.replace(/;.*/, '')),
    [
      "archive_mode was 'always', and is off now",
      "synchronous_standby_names was 'b', and is empty now",
      "primary_slot_name was 'it's', and is empty now",
    ],
  )
})

test('a copy runs no subscriptions of the original, and says so where there are any; a standby has none to run', () => {
  const made = makeSettings(asked, { ...copy, hasSubscriptions: true }, '', '')
  assert.equal(made.settings['max_logical_replication_workers'], '0')
  assert.match(made.notes.join(), /subscriptions.*RESET max_logical_replication_workers/)
  const standby = makeSettings(asked, { isStandby: true, hasSubscriptions: true }, '', '')
  assert.equal(standby.settings['max_logical_replication_workers'], undefined)
  assert.deepEqual(standby.notes, [])
})

test('what means nothing already is not worth a note', () => {
  const { notes } = makeSettings(asked, copy, "archive_mode = off\nsynchronous_standby_names = ''\n", '')
  assert.deepEqual(notes, [])
})

test('both can be kept as they were', () => {
  const { settings, notes } = makeSettings(
    { ...asked, keepArchiving: true, keepSettings: true },
    copy,
    'archive_mode = on',
    '',
  )
  assert.deepEqual([settings, notes], [recovery, []])
})

test('a recovery that the original made once does not come back: of two targets, a server takes none', () => {
  const conf = "recovery_target_time = '2020-01-01'\nrecovery_target_inclusive = off\n"
  const auto =
    "archive_cleanup_command = 'rm %r'\nrecovery_target_timeline = '7'\nprimary_conninfo = 'password=secret'\n"
  const { settings, notes } = makeSettings(asked, copy, conf, auto)
  assert.deepEqual(settings, { ...silent, ...recovery })
  assert.deepEqual(notes, [])
})

test('what stands in files that are not in the backup, or are included, does not act either', () => {
  const { settings } = makeSettings(asked, copy, "include_dir 'conf.d'\n", '')
  assert.equal(settings['archive_cleanup_command'], '')
  assert.equal(settings['recovery_target_time'], '')
})

test('the target comes last, for a server takes what stands behind it for a second one, empty or not', () => {
  for (const target of ['recovery_target', 'recovery_target_time', 'recovery_target_lsn']) {
    const { settings } = makeSettings({ ...asked, recovery: [[target, 'x']] }, copy, '', '')
    const targets = Object.keys(settings).filter((name) => /^recovery_target(_time|_lsn|_xid|_name)?$/.test(name))
    assert.equal(targets.length, 5)
    assert.equal(targets.at(-1), target)
  }
})

test('a standby streams from where it was told to', () => {
  const { settings } = makeSettings({ ...asked, primaryConninfo: 'host=db' }, copy, '', "primary_conninfo = 'host=old'")
  assert.equal(settings['primary_conninfo'], 'host=db')
})
