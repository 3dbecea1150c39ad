// Apps from npm, in the versions of npm/package.json.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { ROOT } from '../proxies/stack.mjs';
import { answers, cases, namesVersion, username } from './cases.mjs';

const MODULES = path.join(ROOT, 'tests/apps/npm/node_modules');
if (!fs.existsSync(MODULES)) throw new Error(`${MODULES} is missing: run tests/apps/install`);

const tiddlyWiki = {
  page: 'tiddlywiki', port: 8090,
  paths: (folder) => [['/srv/wiki', `${folder}/wiki`]],
  async start({ stack, settings, port }) {
    const [init, listen] = settings('sh').trim().replaceAll('\\\n', ' ').split('\n')
      .map((line) => [...line.matchAll(/"([^"]*)"|\S+/g)].map(([word, quoted]) => quoted ?? word).slice(1));
    const program = [`${MODULES}/tiddlywiki/tiddlywiki.js`];
    await stack.program(process.execPath, [...program, ...init], ({ output, ended }) => ended || output.includes('Copied'));
    await stack.program(process.execPath, [...program, ...listen, `port=${port}`], answers(port, '/status'));
  },
  async who(ask) {
    const { status, text } = await ask('GET', '/status');
    assert.equal(status, 200, text);
    return JSON.parse(text).username;
  },
  knownAs: username,
  use: (page) => page.getByText('My TiddlyWiki').first().waitFor(),
  header: 'X-Auth-Request-Preferred-Username',
};

const nodeRed = {
  page: 'node-red', port: 1880,
  async start({ stack, settings, port, folder }) {
    const file = stack.file('node-red/settings.js', settings('js'));
    await stack.program(process.execPath, [`${MODULES}/node-red/red.js`, '--userDir', folder, '--settings', file, '--port', port],
      answers(port, '/'), { HOME: folder });
  },
  async who(ask) {
    const { status, text } = await ask('GET', '/settings');
    assert.equal(status, 200, text);
    return JSON.parse(text).user?.username;
  },
  knownAs: username,
  /** The editor, without a sign-in of its own. */
  use: (page) => page.getByRole('button', { name: 'Deploy' }).or(page.locator('#red-ui-header-button-deploy')).first().waitFor(),
  header: 'X-Auth-Request-Preferred-Username',
  /** The editor's connection. */
  async socket() {
    const open = () => new Promise((resolve) => {
      const socket = new WebSocket(`wss://${location.host}/comms`);
      socket.addEventListener('open', () => resolve(socket));
      socket.addEventListener('error', () => resolve(undefined));
    });
    const socket = await open();
    // Node-RED answers each claim of a name, and believes it, as the page says.
    window.echo = () => new Promise((resolve) => {
      socket.addEventListener('message', ({ data }) => { if (data.includes('"auth":"ok"')) resolve(true); });
      socket.addEventListener('close', () => resolve(false));
      socket.send(JSON.stringify({ auth: 'somebody_else' }));
      setTimeout(() => resolve(false), 5_000);
    });
    window.reopen = async () => Boolean(await open());
    if (!await window.echo()) throw new Error('the editor\'s connection does not answer');
  },
};

const pinned = JSON.parse(fs.readFileSync(path.join(MODULES, '../package.json'), 'utf8')).devDependencies;
for (const name of ['tiddlywiki', 'node-red']) namesVersion(name, pinned[name]);

cases([tiddlyWiki, nodeRed]);
