// Apps from PyPI, in the versions of pypi/*.txt.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { ROOT } from '../proxies/stack.mjs';
import { answers, basic, cases, namesVersion, username } from './cases.mjs';
import { jupyter } from './jupyter.mjs';

const [PROGRAMS, WIKI_PROGRAMS] = ['apps', 'otter-wiki'].map((name) => path.join(ROOT, `target/apps/${name}/bin`));
if (!fs.existsSync(WIKI_PROGRAMS)) throw new Error(`${WIKI_PROGRAMS} is missing: run tests/apps/install`);

const datasette = {
  page: 'datasette', port: 8001, version: 'datasette',
  async start({ stack, settings, port, folder }) {
    stack.file('datasette/plugins/hallpass.py', settings('python'));
    const metadata = stack.file('datasette/metadata.json', settings('js'));
    await stack.program(`${PROGRAMS}/datasette`, ['--port', port, '--plugins-dir', `${folder}/plugins`, '--metadata', metadata, '--create', `${folder}/books.db`], answers(port));
  },
  async who(ask) {
    const { status, text } = await ask('GET', '/-/actor.json');
    assert.equal(status, 200, text);
    return JSON.parse(text).actor?.id;
  },
  knownAs: username,
  use: (page, name) => page.getByText(name).waitFor(),
  header: 'X-Auth-Request-Preferred-Username',
  alone: (at) => it('lets people see what its own settings say', async () => {
    const { world, ADA, GRACE, program } = at;
    const status = async (person) => (await program('nginx', [basic(world.tokens.get(person))])('GET', '/books')).status;
    assert.deepEqual([await status(ADA), await status(GRACE)], [200, 403]);
  }),
};

const otterWiki = {
  page: 'otter-wiki', port: 8082, version: 'otterwiki', requirements: 'otter-wiki',
  paths: (folder) => [['/srv/wiki', folder]],
  async start({ stack, settings, port, folder }) {
    execFileSync('git', ['init', '--quiet', `${folder}/pages`]);
    const config = stack.file('otter-wiki/settings.cfg', settings('python'));
    await stack.program(`${WIKI_PROGRAMS}/flask`, ['--app', 'otterwiki.server', 'run', '--port', port], answers(port),
      { OTTERWIKI_SETTINGS: config });
  },
  async who(ask) {
    const { status, text } = await ask('GET', '/-/settings');
    assert.equal(status, 200, text);
    return /<input name="name" [^>]*value="([^"]*)"/.exec(text)?.[1];
  },
  knownAs: username,
  header: ['X-Otterwiki-Name', 'X-Otterwiki-Email'],
  alone: (at) => it('lets only the administrator of the page change its settings', async () => {
    const { world, ADA, GRACE, program } = at;
    for (const proxy of ['nginx', 'caddy']) {
      const status = async (person) => {
        const forged = ['X-Otterwiki-Permissions', 'READ,WRITE,UPLOAD,ADMIN'];
        return (await program(proxy, [basic(world.tokens.get(person)), forged])('GET', '/-/admin/user_management')).status;
      };
      assert.deepEqual([await status(ADA), await status(GRACE)], [200, 403]);
    }
  }),
};

const JUPYTER = jupyter(`${PROGRAMS}/jupyter-server`);

for (const { page, version, requirements = 'apps' } of [datasette, JUPYTER, otterWiki]) {
  const pinned = fs.readFileSync(path.join(ROOT, `tests/apps/pypi/${requirements}.txt`), 'utf8');
  namesVersion(page, new RegExp(`^${version}==([\\d.]+)`, 'm').exec(pinned)[1]);
}

cases([datasette, JUPYTER, otterWiki]);
