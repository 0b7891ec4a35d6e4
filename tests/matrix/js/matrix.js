// Kafka clients of JavaScript against a broker: one scenario, an adapter for each client. Each fact seen is a line of JSON.
//
//   node matrix.js CLIENT CODECS BOOTSTRAP NAME
//
// NAME is the topic and the group, and the beginning of the names of more topics; NAME-python-CODEC are there
// already. After the facts "restart" and "kill" it waits for a line on its input: the broker goes away and comes back.

import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'

const PATIENCE = 30_000 // milliseconds
const BASE = 1_600_000_000_000
const SENT = 300 // records to three partitions before the restart
const LATER = 30 // and after it

const [, , kind, codecs, bootstrap, name] = process.argv
const { Client } = await import(`./${kind}.js`)
const client = new Client(bootstrap)

const tell = (fact, seen) => console.log(JSON.stringify({ fact, seen }))
const value = number => Buffer.from(`${number}:` + 'abcdefgh'.repeat((number * 37) % 200))
const text = some => (some === null || some === undefined ? null : some.toString())

async function until(condition, what) {
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await pause(20)) {
    if (await condition()) return
  }
  throw new Error(`waited for ${what}`)
}

async function refused(doing) {
  try {
    await doing
    return 0
  } catch (error) {
    return client.code(error)
  }
}

async function topics() {
  await client.create(name, 3)
  const again = await refused(client.create(name, 3))
  tell('created', { partitions: (await client.topics())[name], again })
}

async function compression() {
  for (const codec of codecs.split(',')) {
    const own = `${name}-${codec}`
    await client.create(own, 1)
    const values = Array.from({ length: 60 }, (_, number) => value(number))
    const places = await client.produce(codec, own, values.map(value => ({ partition: 0, key: null, value })))
    tell(`codec-${codec}`, {
      offsets: places[0],
      own: same(await client.read(own, 60), values),
      python: same(await client.read(`${name}-python-${codec}`, 60), values)
    })
  }
}

const same = (records, values) =>
  records.length === values.length && records.every((one, at) => one.offset === at && values[at].equals(one.value))

async function content() {
  const topic = `${name}-content`
  await client.create(topic, 1)
  await client.produce('none', topic, [
    { time: BASE, key: Buffer.from('k'), value: Buffer.from('v'), headers: [['trace', 'one'], ['span', 'two']] },
    { time: BASE + 1, key: Buffer.from('gone'), value: null },
    { time: BASE + 2, key: Buffer.alloc(0), value: Buffer.alloc(0) },
    { time: BASE + 3, key: null, value: Buffer.from('no key') }
  ].map(one => ({ partition: 0, ...one })))
  const records = await client.read(topic, 4)
  tell('content', records.map(one => [one.time - BASE, text(one.key), text(one.value), one.headers]))
}

async function times() {
  const topic = `${name}-times`
  await client.create(topic, 1)
  const records = Array.from({ length: 10 }, (_, number) => BASE + number * 1000)
  await client.produce('none', topic, records.map(time => ({ partition: 0, time, key: null, value: Buffer.from('v') })))
  const seen = []
  for (const after of [0, 4500, 9000]) seen.push(await client.at(topic, BASE + after))
  tell('times', seen)
}

async function refusals() {
  const one = size => [{ partition: 0, key: null, value: Buffer.alloc(size) }]
  const unknown = await refused(client.produce('none', `${name}-unknown`, one(1)))
  await client.create(`${name}-small`, 1, { 'max.message.bytes': '2000' })
  const large = await refused(client.produce('none', `${name}-small`, one(5000)))
  tell('refusals', { 'unknown topic': unknown, 'too large': large })
}

const spread = (from, count) =>
  Array.from({ length: count }, (_, at) => Buffer.from(String(from + at))).map((text, at) => ({
    partition: (from + at) % 3, key: text, value: text
  }))

// The first and the last offset of the records of each partition; they must come in a row, each once.
function byPartition(records) {
  const seen = {}
  for (const { partition, offset } of records) {
    seen[partition] ??= [offset, offset - 1]
    if (offset !== seen[partition][1] + 1) throw new Error(`${offset} after ${seen[partition]} in partition ${partition}`)
    seen[partition][1] = offset
  }
  return seen
}

const sorted = shares => shares.map(share => [...share].sort()).sort()

async function group() {
  const records = []
  const readers = [new Set(), new Set()]
  const members = await Promise.all(readers.map(partitions => client.join(name, name, one => {
    partitions.add(one.partition)
    records.push(one)
  })))
  let shares
  await until(async () => {
    shares = await client.assigned(name, name)
    return shares.length === 2 && shares.every(share => share.length > 0) && shares.flat().length === 3
  }, 'a share of the partitions for each member')
  // A client may still give what a fetch brings that it asked for before it lost a partition: let those come back.
  await pause(5 * client.wait)
  const early = records.length
  const produced = await client.produce('none', name, spread(0, SENT))
  await until(() => records.length >= SENT, 'all records')
  for (const one of members) await one.commit()
  const committed = await client.committed(name, name)
  for (const one of members) await one.leave()
  const read = byPartition(records)
  tell('group', { early, shares: sorted(shares), readers: sorted(readers), produced, read, committed })
}

async function resume() {
  const before = await client.committed(name, name)
  const produced = await client.produce('none', name, spread(SENT, LATER))
  const records = []
  const one = await client.join(name, name, record => records.push(record))
  await until(() => records.length >= LATER, 'the records after the restart')
  await one.commit()
  await one.leave()
  tell('resumed', { before, produced, read: byPartition(records), committed: await client.committed(name, name) })
}

// Asks for something to be done to the broker, and waits until it is.
async function ask(what) {
  tell(what, true)
  await once(process.stdin, 'data')
}

// Sends all the time while the broker is killed: what of it is lost, and what is there twice.
async function through() {
  const topic = `${name}-through`
  await client.create(topic, 1)
  const batch = async from => {
    const values = Array.from({ length: 10 }, (_, at) => Buffer.from(String(from + at)))
    return client.produce('none', topic, values.map(value => ({ partition: 0, key: null, value })), true)
  }
  let sent = 0
  let stop = false
  const sending = (async () => {
    for (; !stop; sent += 10) await batch(sent)
  })()
  const more = async (from, what) => Promise.race([sending, until(() => sent >= from + 100, what)])
  await more(0, 'records before the broker is killed')
  await ask('kill')
  await more(sent, 'records after the broker was killed')
  stop = true
  await sending
  const [end] = (await batch(1_000_000))[0]
  const records = (await client.read(topic, end)).slice(0, end) // a read may give what comes after
  const seen = new Map()
  for (const one of records) seen.set(text(one.value), (seen.get(text(one.value)) ?? 0) + 1)
  let lost = 0
  let twice = 0
  for (let number = 0; number < sent; number++) {
    const times = seen.get(String(number)) ?? 0
    lost += times === 0
    twice += times > 1
  }
  tell('through', { lost, twice, ordered: records.every(one => text(one.value) === String(one.offset)) })
}

// Changes what can be changed of a topic and its group of nobody, as far as the client can; the group is gone then.
async function administer() {
  const seen = {}
  for (const [what, doing] of Object.entries(client.administer(name))) seen[what] = await doing()
  tell('administered', seen)
}

async function removal() {
  await client.remove(name)
  tell('removed', !(name in (await client.topics())))
}

for (const part of [topics, compression, content, times, refusals, group]) await part()
await ask('restart')
for (const part of [resume, through, administer, removal]) await part()
await client.close()
process.exit(0)
