/** Who is looking at the page. A real app knows this from its sign-in; here everybody is an aviator. */
import type { User } from 'aerostack-realtime/react'

const NAMES = [
  'Amelia',
  'Santos',
  'Bessie',
  'Louis',
  'Hélène',
  'Otto',
  'Jacqueline',
  'Charles',
  'Raymonde',
  'Igor',
]
const STORED = 'aerostack-example-person'
const COLOURS = 8

/** The person `?as=Name` names, else this browser's own: the same in all of its tabs. */
export function currentPerson(): User {
  const name = new URLSearchParams(location.search).get('as')?.trim().slice(0, 40)
  if (name) return { id: name.toLowerCase(), name }
  const stored = localStorage.getItem(STORED)
  if (stored) return JSON.parse(stored)
  const person = { id: crypto.randomUUID().slice(0, 8), name: someName() }
  localStorage.setItem(STORED, JSON.stringify(person))
  return person
}

/** This page's address for somebody else, so that one person can try what takes two. */
export function addressForAnother(than: string): string {
  const address = new URL(location.href)
  address.searchParams.set('as', someName(than))
  return address.href
}

/** The same colour for the same person on every screen, without telling anybody. */
export function colourOf(userId: string): string {
  let hash = 7
  for (const character of userId) hash = (hash * 31 + character.charCodeAt(0)) >>> 0
  return `var(--person-${hash % COLOURS})`
}

function someName(except?: string): string {
  const others = NAMES.filter((name) => name !== except)
  return others[Math.floor(Math.random() * others.length)] ?? 'Amelia'
}
