// The pages of docs/apps. The tests take the proxy's lines and the app's settings from them.

import fs from 'node:fs';
import path from 'node:path';
import { ROOT } from '../proxies/stack.mjs';

export class Recipe {
  constructor(name) {
    this.name = name;
    this.text = fs.readFileSync(path.join(ROOT, `docs/apps/${name}.md`), 'utf8');
    this.blocks = [...this.text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, text]) => ({ language, text }));
  }

  has(language) {
    return this.blocks.some((block) => block.language === language);
  }

  /** The blocks of code in that language, with other texts. Throws if the page lacks one of these. */
  all(language, replacements = []) {
    const missing = replacements.find(([from]) => !this.text.includes(from));
    if (missing || !this.has(language)) throw new Error(`${this.name}.md has no ${missing?.[0] ?? `block of ${language}`}`);
    return this.blocks.filter((block) => block.language === language)
      .map(({ text }) => replacements.reduce((changed, [from, to]) => changed.replaceAll(from, to), text));
  }

  /** The first block of code in that language. */
  first(language, replacements = []) {
    return this.all(language, replacements)[0];
  }

  /** The version that the page names as tested here. */
  get version() {
    return /^\*\*Tested here\*\* with .*? v?(\d[\w.]*\w)/m.exec(this.text)?.[1];
  }
}

/** The part of a text from `first` to just before `last`. */
function between(text, first, last) {
  const [from, to] = [text.indexOf(first), text.indexOf(last)];
  if (from < 0 || to < from) throw new Error(`expected ${first} and ${last} in the file`);
  return { before: text.slice(0, from), part: text.slice(from, to), after: text.slice(to) };
}

/** Replaces the block that begins with that line by others. */
export function replaceBlock(text, line, blocks) {
  const indentation = /^\s*/.exec(line)[0];
  const from = text.lastIndexOf(`\n${line}\n`);
  const to = text.indexOf(`\n${indentation}}\n`, from);
  if (from < 0 || to < 0) throw new Error(`expected ${line} in the file`);
  const inserted = blocks.join('\n').trimEnd().split('\n').map((each) => (each ? indentation + each : each)).join('\n');
  return `${text.slice(0, from)}\n${inserted}${text.slice(to + indentation.length + 2)}`;
}

const FIRST = 'An app for everybody whom Hallpass lets in.';
const NEXT = 'An app for some of them only.';

/** deploy/nginx/auth-subdomain.conf with a host for each app: app.example.com, with the page's lines. */
export function nginxSite(text, apps) {
  const { before, part, after } = between(text, `# ${FIRST}`, `# ${NEXT}`);
  const hosts = apps.map(({ host, nginx }) => {
    const server = part.replaceAll('app.example.com', host).replace(/\n {4}# Public:.*?\n {4}\}\n/s, '\n');
    return replaceBlock(server, '    location / {', nginx.filter((block) => block.startsWith('location')));
  });
  const shared = apps.flatMap(({ nginx }) => nginx.filter((block) => /^(map|log_format|upstream)/.test(block)));
  return [...shared, before, ...hosts, part, after].join('\n');
}

/** deploy/caddy/auth-subdomain.Caddyfile with a host for each app. */
export function caddySite(text, apps) {
  const { before, part, after } = between(text, `# ${FIRST}`, `# ${NEXT}`);
  const hosts = apps.map(({ host, caddy }) =>
    replaceBlock(part.replaceAll('app.example.com', host), '\thandle {', caddy));
  return [before, ...hosts, part, after].join('\n');
}
