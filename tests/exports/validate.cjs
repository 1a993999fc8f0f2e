// Validates JSON by a schema: a file, or each line of one whose name ends in `.jsonl`.
//
//     node validate.cjs FOLDER_OF_NPM_PACKAGES SCHEMA FILE

'use strict'
const fs = require('node:fs')
const path = require('node:path')

const [packages, schema, file] = process.argv.slice(2)
const Ajv = require(path.join(packages, 'ajv')).default
// Published schemas have titles and nested unions that the strict mode is about; what is valid is the same.
const validate = new Ajv({ strict: false }).compile(JSON.parse(fs.readFileSync(schema, 'utf8')))

const text = fs.readFileSync(file, 'utf8')
const documents = file.endsWith('.jsonl') ? text.trimEnd().split('\n') : [text]
for (const document of documents) {
  if (!validate(JSON.parse(document))) {
    console.error(JSON.stringify(validate.errors), document.slice(0, 1000))
    process.exit(1)
  }
}
console.log(documents.length)
