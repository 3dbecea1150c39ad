// Calibre-Web, which takes too long for tests/run: `tests/apps/install by-hand`, then
// `node --test tests/apps/by-hand/calibre-web.mjs`.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { ROOT } from '../../proxies/stack.mjs';
import { answers, cases, namesVersion, username } from '../cases.mjs';

const PROGRAMS = path.join(ROOT, 'target/apps/by-hand/bin');

const calibreWeb = {
  page: 'calibre-web', port: 8083, version: 'calibreweb',
  async start({ stack, settings, port, folder }) {
    fs.mkdirSync(`${folder}/books`);
    execFileSync(`${PROGRAMS}/python`, [path.join(ROOT, 'tests/apps/calibre_library.py'), `${folder}/books`], { stdio: 'pipe' });
    const environment = { CALIBRE_PORT: String(port), CALIBRE_DBPATH: folder, HOME: folder };
    await stack.program(`${PROGRAMS}/cps`, ['-p', `${folder}/app.db`, '-i', '127.0.0.1'], answers(port, '/login'), environment);
    const form = await administrator(`http://127.0.0.1:${port}`);
    await form('/admin/dbconfig', '/admin/dbconfig', { config_calibre_dir: `${folder}/books` });
    for (const name of ['ada_example.com', 'grace_example.com']) {
      const user = { name, email: name.replace('_', '@'), password: 'Long-enough-1', locale: 'en', default_language: 'all' };
      await form('/admin/user/new', '/admin/user/new', user);
    }
    const page = await form('/admin/config');
    const values = settings('text').trim().split('\n').map((line) => {
      const [label, value] = line.split(': ');
      const field = new RegExp(`<label for="(\\w+)">${label.replace(/[()/]/g, '\\$&')}</label>`).exec(page)?.[1];
      assert.ok(field, `Calibre-Web has no setting ${label}`);
      return [field, value];
    });
    await form('/admin/config', '/admin/ajaxconfig', Object.fromEntries(values));
  },
  async who(ask) {
    const feed = await ask('GET', '/opds');
    assert.equal(feed.status, 200);
    const { text } = await ask('GET', '/me');
    return /<h1>(.*)&#39;s Profile<\/h1>/.exec(text)?.[1];
  },
  knownAs: username,
  header: 'X-Auth-Request-Preferred-Username',
  use: (page, name) => page.getByText(name).first().waitFor(),
};

/** Fills in forms of Calibre-Web as its first administrator. */
async function administrator(base) {
  const cookies = new Map();
  const ask = async (place, options = {}) => {
    const Cookie = [...cookies].map((pair) => pair.join('=')).join('; ');
    const answer = await fetch(base + place, { redirect: 'manual', ...options, headers: { ...options.headers, Cookie } });
    for (const cookie of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]*)=([^;]*)/.exec(cookie);
      cookies.set(name, value);
    }
    return { status: answer.status, text: await answer.text() };
  };
  const form = async (page, action, fields) => {
    const { text } = await ask(page);
    if (!action) return text;
    const csrf = /name="csrf_token" value="([^"]*)"/.exec(text)[1];
    const answer = await ask(action, { method: 'POST', body: new URLSearchParams({ csrf_token: csrf, ...fields }) });
    assert.ok(answer.status < 400, `${action}: ${answer.status}`);
    return answer.text;
  };
  await form('/login', '/login', { username: 'admin', password: 'admin123' });
  return form;
}

const pinned = fs.readFileSync(path.join(ROOT, 'tests/apps/pypi/by-hand.txt'), 'utf8');
namesVersion('calibre-web', /^calibreweb==([\d.]+)/m.exec(pinned)[1]);

cases([calibreWeb]);
