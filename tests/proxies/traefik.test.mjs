// Traefik's files, without Traefik. Its patterns are Go's, and they mean the same in JavaScript.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { IDENTITY_HEADERS, FORGED, LAYOUTS } from './cases.mjs';
import { ROOT } from './stack.mjs';

const pattern = (text) => new RegExp(text.replace('(?i)', ''), 'i');

for (const layout of Object.keys(LAYOUTS)) {
  const text = fs.readFileSync(path.join(ROOT, 'deploy/traefik', `${layout}.yml`), 'utf8');
  const stripped = pattern(/authResponseHeadersRegex: &identity\s+"([^"]*)"/.exec(text)[1].replace(/\\\n\s*/g, ''));

  it(`${layout}: removes every identity header, and no other`, () => {
    for (const name of [...IDENTITY_HEADERS, ...FORGED.flat().map(([spelling]) => spelling), 'X-Original-URL',
      'X-Rewrite-URL', 'X-Script-Name', 'Forwarded', 'X-Forwarded-Prefix', 'X-Auth-Request-Anything', 'X-WEBAUTH-Anything']) {
      assert.match(name, stripped);
    }
    for (const name of ['Accept', 'Content-Type', 'Cookie', 'Authorization', 'X-User-Agent', 'X-Forwarded-For',
      'X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Auth-Token', 'X-Csrf-Token', 'X-Requested-With', 'Host', 'Range']) {
      assert.doesNotMatch(name, stripped);
    }
    const guarded = text.match(/^ {4}hallpass[a-z-]*:\n {6}forwardAuth:/gm).length + 1;
    const stripping = text.match(/authResponseHeadersRegex: [&*]identity/g).length;
    assert.equal(stripping, guarded, 'a public path keeps identity headers');
  });
}

it('same-host: the pattern for /admin covers all its spellings', () => {
  const text = fs.readFileSync(path.join(ROOT, 'deploy/traefik/same-host.yml'), 'utf8');
  const rule = pattern(/PathRegexp\(`([^`]*)`\)/.exec(text)[1]);
  const read = (target) => decodeURIComponent(target.split('?')[0]).replace(/\/x\/\.\.|\/\.(?=\/)/g, '');
  for (const target of LAYOUTS['same-host'].spellings) assert.match(read(target), rule);
  for (const target of LAYOUTS['same-host'].others) assert.doesNotMatch(read(target), rule);
});
