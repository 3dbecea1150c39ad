// Runs the examples of docs/assertion.md as they are, and sends them good and bad assertions. Those in
// Go and Rust are compiled by hand: ASSERTION_APP names such a program, which is then tested too.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { SignJWT, UnsecuredJWT, exportJWK, exportSPKI, generateKeyPair } from 'jose';

import { HALLPASS, ROOT, Stack } from '../proxies/stack.mjs';

const APP = 'https://app.example.com';
const HEADER = 'X-Hallpass-Assertion';
const FOLDER = path.join(ROOT, 'tests/assertion/node_modules/.examples');
const PAGE = fs.readFileSync(path.join(ROOT, 'docs/assertion.md'), 'utf8');

/** Writes an example to a file under the name in its first line. */
function example(language, name) {
  const blocks = [...PAGE.matchAll(new RegExp('```' + language + '\n([^]*?)```', 'g'))].map((match) => match[1]);
  const block = blocks.find((text) => text.split('\n')[0].endsWith(name));
  assert.ok(block, `docs/assertion.md has no example ${name}`);
  fs.mkdirSync(FOLDER, { recursive: true });
  const file = path.join(FOLDER, name);
  fs.writeFileSync(file, block);
  return file;
}

const WSGI = `import os, sys
sys.path.insert(0, sys.argv[1])
from wsgiref.simple_server import make_server
import wsgi
make_server("127.0.0.1", int(os.environ["PORT"]), wsgi.application).serve_forever()`;

const EXAMPLES = {
  Express: () => [process.execPath, [example('js', 'express.mjs')]],
  WSGI: () => [
    path.join(ROOT, 'target/assertion/bin/python'),
    ['-c', WSGI, path.dirname(example('python', 'wsgi.py'))],
  ],
  ...(process.env.ASSERTION_APP && { 'the program': () => [process.env.ASSERTION_APP, []] }),
};

const stack = new Stack();
after(() => stack.stop());

/** A free port. Another program could take it before it is used, which would fail the test. */
async function freePort() {
  const server = http.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A demo, and an assertion that it has signed for a host. */
async function demo() {
  const port = await freePort();
  const url = `http://localhost:${port}`;
  const program = await stack.program(
    HALLPASS,
    ['demo', '--listen', `127.0.0.1:${port}`, '--assertion'],
    () => fetch(`${url}/healthz`).then((answer) => answer.ok, () => false),
  );
  stack.onStop(() => program.stop());
  const page = await (await fetch(`${url}/auth/signin`)).text();
  const credential = page.match(/name="credential" value="([^"]+)"/)[1];
  const signedIn = await fetch(`${url}/auth/signin`, { method: 'POST', body: new URLSearchParams({ id_token: credential }) });
  const { session } = await signedIn.json();
  const sign = async (host) => {
    const headers = { Authorization: `Bearer ${session.token}`, 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': host };
    return (await fetch(`${url}/auth/check`, { headers })).headers.get(HEADER);
  };
  return { url, sign };
}

/** A server that publishes one key, and can therefore sign anything. */
async function issuer() {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = { ...(await exportJWK(publicKey)), kid: 'a', alg: 'ES256', use: 'sig' };
  const server = http.createServer((request, response) => response.end(JSON.stringify({ keys: [jwk] })));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.onStop(() => server.closeAllConnections() ?? server.close());
  return { url: `http://127.0.0.1:${server.address().port}`, privateKey, publicKey };
}

for (const [name, command] of Object.entries(EXAMPLES)) {
  describe(name, () => {
    let real, own;

    async function start(hallpass) {
      const port = await freePort();
      const app = `http://127.0.0.1:${port}/`;
      const [program, args] = command();
      const started = await stack.program(program, args, () => fetch(app).then(() => true, () => false), {
        HALLPASS: hallpass, APP, PORT: String(port),
      });
      stack.onStop(() => started.stop());
      return async (assertion) => {
        const answer = await fetch(app, { headers: assertion === undefined ? {} : { [HEADER]: assertion } });
        return [answer.status, answer.status === 200 ? await answer.text() : ''];
      };
    }

    before(async () => {
      const hallpass = await demo();
      real = { ...hallpass, send: await start(hallpass.url) };
      const forger = await issuer();
      own = { ...forger, send: await start(forger.url) };
    });

    test('believes what Hallpass has signed for this app', async () => {
      assert.deepEqual(await real.send(await real.sign('app.example.com')), [200, '100000000000000000001']);
    });

    test('refuses what Hallpass has signed for another app', async () => {
      assert.equal((await real.send(await real.sign('other.example.com')))[0], 401);
    });

    test('refuses a request without an assertion', async () => {
      assert.equal((await real.send())[0], 401);
      assert.equal((await real.send(''))[0], 401);
    });

    test('refuses everything that is not as it must be', async () => {
      const now = Math.floor(Date.now() / 1000);
      const signed = (change = {}, header = {}, key = own.privateKey) => {
        const claims = { iss: own.url, aud: APP, sub: '1', iat: now, exp: now + 300, ...change };
        return new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'a', ...header }).sign(key);
      };
      assert.deepEqual(await own.send(await signed()), [200, '1']);
      const secret = new TextEncoder().encode(await exportSPKI(own.publicKey));
      const other = await generateKeyPair('ES256');
      const bad = {
        'another issuer': await signed({ iss: 'https://other.example.com' }),
        'another audience': await signed({ aud: 'https://other.example.com' }),
        expired: await signed({ iat: now - 600, exp: now - 300 }),
        'without an end': await signed({ exp: undefined }),
        'another key': await signed({}, {}, other.privateKey),
        'an unknown key': await signed({}, { kid: 'b' }),
        'the public key as a secret': await signed({}, { alg: 'HS256' }, secret),
        unsigned: new UnsecuredJWT({ iss: own.url, aud: APP, sub: '1', exp: now + 300 }).encode(),
        'no JWT': 'a.b.c',
      };
      for (const [what, assertion] of Object.entries(bad)) assert.equal((await own.send(assertion))[0], 401, what);
    });
  });
}
