// Imports a profile by speedscope's own importer, and prints what it makes of it: for each profile its name, its unit, and
// how much each stack weighs by itself.
//
//     node speedscope.cjs FOLDER_OF_NPM_PACKAGES FILE

'use strict'
const fs = require('node:fs')
const path = require('node:path')
const vm = require('node:vm')

const [packages, file] = process.argv.slice(2)

// The package is a page for browsers, its importer is loaded by a promise. It is handed out where it would be awaited; what
// comes after that is the page, which finds no browser here.
function importer() {
  const folder = path.join(packages, 'speedscope/dist/release')
  const bundle = fs.readdirSync(folder).find((name) => /^speedscope-.*\.js$/.test(name))
  const text = fs.readFileSync(path.join(folder, bundle), 'utf8')
  const load = /var \w+=Promise\.resolve\(\)\.then\(\(\)=>\((\w+)\(\),(\w+)\)\);/.exec(text)
  const before = text.slice(0, load.index)
  const handed = `${before}globalThis.handOut((${load[1]}(),${load[2]}));throw new Error('no page');`
  let handedOut
  const context = vm.createContext({
    console: { log() {}, assert() {}, warn: console.error, error: console.error },
    handOut: (module) => (handedOut = module),
    TextDecoder, TextEncoder, Uint8Array, ArrayBuffer, DataView, setTimeout, URL,
    navigator: { userAgent: '', platform: '' }, location: { hash: '', protocol: 'file:' },
    window: { location: { hash: '', protocol: 'file:' }, matchMedia: () => ({ matches: false, addListener() {} }) },
    document: { createElement: () => ({ style: {}, getContext: () => null }) },
    localStorage: {},
  })
  context.self = context
  // What is left of the bundle closes what is open.
  const rest = text.slice(load.index)
  try {
    vm.runInContext(handed + rest, context, { filename: bundle })
  } catch (error) {
    if (!handedOut) throw error
  }
  return handedOut
}

function stacks(profile) {
  const all = []
  const visit = (node, callers) => {
    const names = node.isRoot() ? callers : [...callers, node.frame.name]
    if (names.length && node.getSelfWeight() > 0) all.push([names, node.getSelfWeight()])
    node.children.forEach((child) => visit(child, names))
  }
  visit(profile.getAppendOrderCalltreeRoot(), [])
  return all
}

async function main() {
  const bytes = fs.readFileSync(file)
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)
  const group = await importer().importProfilesFromArrayBuffer(path.basename(file), buffer)
  const profiles = group.profiles.map((profile) => ({
    name: profile.getName(),
    unit: profile.getWeightUnit(),
    total: profile.getTotalWeight(),
    stacks: stacks(profile),
  }))
  console.log(JSON.stringify({ name: group.name, shown: group.indexToView, profiles }))
}

main()
