import {
  Admin, ConfigResourceTypes, Consumer, IncrementalAlterConfigOperationTypes, MessagesStreamFallbackModes,
  MessagesStreamModes, Producer
} from '@platformatic/kafka'

let readers = 0

export class Client {
  wait = 200 // milliseconds that a fetch of a member waits for records

  constructor(bootstrap) {
    this.common = { clientId: 'matrix', bootstrapBrokers: [bootstrap], retries: 6, retryDelay: 200, metadataMaxAge: 100 }
    this.admin = new Admin(this.common)
    const [producer, patient] = [this.common, { ...this.common, retries: 100 }].map(options =>
      new Producer({ ...options, idempotent: true, acks: -1, autocreateTopics: false }))
    Object.assign(this, { producer, patient })
  }

  async create(topic, partitions, config = {}) {
    const configs = Object.entries(config).map(([name, value]) => ({ name, value }))
    await this.admin.createTopics({ topics: [topic], partitions, replicas: 1, configs })
  }

  async topics() {
    const names = await this.admin.listTopics()
    const { topics } = await this.admin.metadata({ topics: names, forceUpdate: true })
    return Object.fromEntries([...topics].map(([name, one]) => [name, one.partitionsCount]))
  }

  async produce(compression, topic, records, patient = false) {
    const messages = records.map(({ partition, time, key, value, headers = [] }) => ({
      topic,
      partition,
      key,
      value,
      timestamp: time && BigInt(time),
      headers: new Map(headers.map(pair => pair.map(text => Buffer.from(text))))
    }))
    const done = await (patient ? this.patient : this.producer).send({ messages, compression })
    return Object.fromEntries(done.offsets.map(({ partition, offset }) => {
      const count = records.filter(one => one.partition === partition).length
      return [partition, [Number(offset), Number(offset) + count - 1]]
    }))
  }

  async read(topic, count) {
    const records = []
    let done
    const all = new Promise(resolve => { done = resolve })
    const reader = await this.join(`${topic}-reader-${readers++}`, topic, one => {
      if (records.push(one) === count) done()
    })
    await all
    await reader.leave()
    return records
  }

  async join(groupId, topic, take) {
    const consumer = new Consumer({
      ...this.common, groupId, autocommit: false, maxWaitTime: this.wait, sessionTimeout: 10_000, heartbeatInterval: 200
    })
    const next = new Map()
    const stream = await consumer.consume({
      topics: [topic], mode: MessagesStreamModes.COMMITTED, fallbackMode: MessagesStreamFallbackModes.EARLIEST
    })
    stream.on('data', ({ partition, offset, timestamp, key, value, headers }) => {
      next.set(partition, offset + 1n)
      take({
        partition,
        offset: Number(offset),
        time: Number(timestamp),
        key,
        value,
        headers: [...headers].map(pair => pair.map(some => some.toString()))
      })
    })
    return {
      commit: () => consumer.commit({
        offsets: [...next].map(([partition, offset]) => ({ topic, partition, offset, leaderEpoch: 0 }))
      }),
      leave: async () => {
        await stream.close()
        await consumer.close(true)
      }
    }
  }

  async assigned(group, topic) {
    const found = await this.admin.describeGroups({ groups: [group] })
    return [...found.get(group).members.values()].map(one => one.assignments?.get(topic)?.partitions ?? [])
  }

  async committed(group, topic) {
    const [found] = await this.admin.listConsumerGroupOffsets({ groups: [group] })
    const { partitions } = found.topics.find(one => one.name === topic)
    return Object.fromEntries(partitions.map(one => [one.partitionIndex, Number(one.committedOffset)]))
  }

  async at(topic, time) {
    const asked = [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: BigInt(time) }] }]
    const [found] = await this.admin.listOffsets({ topics: asked })
    return Number(found.partitions[0].offset)
  }

  administer(name) {
    const { admin } = this
    const listed = async () => (await admin.listGroups()).has(name)
    return {
      brokers: async () => (await admin.metadata({ topics: [], forceUpdate: true })).brokers.size,
      'group listed': listed,
      retention: async () => {
        const resource = { resourceType: ConfigResourceTypes.TOPIC, resourceName: name }
        const configOperation = IncrementalAlterConfigOperationTypes.SET
        const configs = [{ name: 'retention.ms', value: '1234567', configOperation }]
        await admin.incrementalAlterConfigs({ resources: [{ ...resource, configs }] })
        const [found] = await admin.describeConfigs({ resources: [{ ...resource, configurationKeys: ['retention.ms'] }] })
        return found.configs[0].value
      },
      partitions: async () => {
        await admin.createPartitions({ topics: [{ name, count: 5, assignments: null }] })
        return (await this.topics())[name]
      },
      'low watermark': async () => {
        const asked = [{ name, partitions: [{ partition: 0, offset: 10n }] }]
        return Number((await admin.deleteRecords({ topics: asked }))[0].partitions[0].lowWatermark)
      },
      'log size': async () => {
        const [found] = await admin.describeLogDirs({ topics: [{ name, partitions: [0] }] })
        return found.results[0].topics[0].partitions[0].partitionSize > 0n
      },
      'set to': async () => {
        const topics = [{ name, partitionOffsets: [{ partition: 0, offset: 7n }] }]
        await admin.alterConsumerGroupOffsets({ groupId: name, topics })
        return (await this.committed(name, name))[0]
      },
      forgotten: async () => {
        await admin.deleteConsumerGroupOffsets({ groupId: name, topics: [{ name, partitionIndexes: [0] }] })
        return !(0 in (await this.committed(name, name)))
      },
      'group removed': async () => {
        await admin.deleteGroups({ groups: [name] })
        return !(await listed())
      }
    }
  }

  remove(topic) {
    return this.admin.deleteTopics({ topics: [topic] })
  }

  // The first error of Kafka's in a tree of errors.
  code(error) {
    if (error.message.startsWith('Unknown topic')) return 3 // all it says when a broker's metadata has error 3
    const find = one => one?.apiCode ?? [one?.cause, ...(one?.errors ?? [])].filter(Boolean).map(find).find(Boolean)
    const code = find(error)
    if (!code) throw error
    return code
  }

  async close() {
    await Promise.all([this.admin, this.producer, this.patient].map(one => one.close()))
  }
}
