// Reads a script from the standard input, and writes its tree as JSON: each node is an array of
// its type, its field in the node above (or ""), where it begins and ends, and its children.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Language, Parser } from 'web-tree-sitter'

const grammar = createRequire(process.cwd() + '/').resolve('tree-sitter-powershell/tree-sitter-powershell.wasm')

await Parser.init()
const parser = new Parser()
parser.setLanguage(await Language.load(grammar))

function tree(node, field) {
  // Expressions of every rank stand around what is but a variable.
  while (node.childCount === 1 && node.type.endsWith('_expression')) node = node.child(0)
  const children = []
  for (let i = 0; i < node.childCount; i++) children.push(tree(node.child(i), node.fieldNameForChild(i) ?? ''))
  const type = node.isMissing ? 'MISSING ' + node.type : node.type
  return [type, field, node.startIndex, node.endIndex, children]
}

process.stdout.write(JSON.stringify(tree(parser.parse(readFileSync(0, 'utf8')).rootNode, '')))
