import { expect, test } from 'vitest'
import { isFinal } from '../../src/close-codes.js'
import { connected, settled } from '../support/network.js'

test.each([4400, 4401, 4403, 4410, 4500, 4899])('after close code %i the client stops', (code) => {
  expect(isFinal(code)).toBe(true)
})

test.each([1000, 1001, 1006, 1012, 4000, 4399, 4429, 4900, 4999])(
  'after close code %i the client reconnects',
  (code) => {
    expect(isFinal(code)).toBe(false)
  },
)

test.each([4400, 4403, 4408, 4410, 4899])('close code %i stops the client', async (code) => {
  const made = await connected()
  made.socket.drop(code, 'not welcome')
  await made.clock.pass(100_000)
  expect(made.client.status).toBe('disconnected')
  expect(made.sockets).toHaveLength(1)
  expect(made.errors).toHaveLength(1)
})

test.each([1000, 1001, 1012, 4000, 4399, 4900])('close code %i reconnects', async (code) => {
  const made = await connected()
  made.socket.drop(code)
  await made.clock.pass(1_000)
  expect(made.sockets).toHaveLength(2)
  expect(made.errors).toEqual([])
})

test('close code 4429 reconnects after the longest back-off', async () => {
  const made = await connected()
  made.socket.drop(4429)
  await made.clock.pass(29_999)
  expect(made.sockets).toHaveLength(1)
  await made.clock.pass(1)
  expect(made.sockets).toHaveLength(2)
})

test('close code 4401 asks for another token, once', async () => {
  const tokens = ['old', 'new', 'newer']
  const made = await connected({ getToken: () => tokens.shift() })
  made.socket.drop(4401)
  await settled()
  expect(made.socket.protocols).toContain('aerostack-token.new')
  made.socket.drop(4401, 'Sign in.')
  await settled()
  expect(made.client.status).toBe('disconnected')
  expect(made.errors).toEqual(['unauthorized'])
})

test('setToken to another user reconnects after close code 4401', async () => {
  const made = await connected({ token: 'ada' })
  made.client.setToken('bob')
  expect(made.socket.sent).toEqual([{ type: 'auth', token: 'bob' }])
  made.socket.drop(4401, 'another user')
  await settled()
  expect(made.socket.protocols).toContain('aerostack-token.bob')
  made.socket.accept()
  expect(made.client.status).toBe('connected')
  expect(made.errors).toEqual([])
})
