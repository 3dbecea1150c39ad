// The tests of every proxy with the files of deploy/, for both layouts.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import * as clients from './clients.mjs';
import { CLIENT_ID, Stack, idToken, send, stream, until, upgrade } from './stack.mjs';

const account = (sub, local, hd, name) => ({ sub, email: `${local}@${hd}`, email_verified: true, hd, name });
const ADA = account('101', 'ada', 'example.com', 'Ada Løvelace ✓ 100%');
const GRACE = account('102', 'grace', 'partner.example', 'Grace');
const EVE = account('103', 'eve', 'partner.example', 'Eve');
const NAMELESS = { sub: '104', hd: 'example.com' };
const OUTSIDER = { sub: '105', email: 'pat@gmail.com', email_verified: true, name: 'Pat' };

const BROWSER = [
  ['Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'], ['Sec-Fetch-Mode', 'navigate'],
  ['Sec-Fetch-Dest', 'document'], ['Sec-Fetch-Site', 'none'], ['User-Agent', 'Mozilla/5.0 (X11; Linux) Chrome/120'],
];
const PROGRAM = [['Accept', 'application/json']];
const CURL = [['Accept', '*/*'], ['User-Agent', 'curl/8.0']];
/** Open to everybody, without an identity. */
export const PUBLIC = '/manifest.webmanifest';
const DEEP = '/deep/link%20here?a=1&b=2&u=https://x/&v=%26%3D%C3%A9';

/** The two layouts: where things are, and whom the example's second allow-list lets in. */
export const LAYOUTS = {
  'same-host': {
    auth: 'app.example.com', app: 'app.example.com', listed: ['app.example.com', '/admin/x'], cookie: '__Host-hallpass',
    flags: ['--public-url', 'https://app.example.com'], onTheList: [ADA], notOnTheList: [GRACE, EVE, NAMELESS],
    spellings: ['/admin', '/admin/', '/Admin', '/ADMIN/', '/ADMIN/x', '/admin?x', '/%61dmin', '/admin%2Fx', '//admin',
      '/x/../admin', '/./admin/', '/admin;x=1', '/admin;/x', '/admin.json', '/admin%20'],
    others: ['/administer', '/admin2', '/admin_', '/xadmin', '/x/admin'],
  },
  'auth-subdomain': {
    auth: 'auth.example.com', app: 'app.example.com', listed: ['staff.example.com', '/x'], cookie: '__Secure-hallpass',
    flags: ['--public-url', 'https://auth.example.com', '--cookie-domain', 'example.com'],
    onTheList: [ADA, GRACE, NAMELESS], notOnTheList: [EVE],
  },
};

/** The identity headers as the app must get them: each that is not empty once, and no others. */
function identityOf(person) {
  const encode = (text) => Array.from(Buffer.from(text))
    .map((byte) => (byte < 0x20 || byte > 0x7e || byte === 0x25
      ? `%${byte.toString(16).toUpperCase().padStart(2, '0')}` : String.fromCharCode(byte))).join('');
  const [email, name] = [person.email ?? '', encode(person.name ?? '')];
  const username = email.replace('@', '_') || `g${person.sub}`;
  return {
    'x-auth-request-user': person.sub, 'x-auth-request-email': email, 'x-auth-request-preferred-username': username,
    'remote-user': email, 'remote-email': email, 'remote-name': name, 'x-forwarded-user': email,
  };
}

/** The headers in which apps look for an identity. The files remove all of them. */
export const IDENTITY_HEADERS = `X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Preferred-Username
  X-Auth-Request-Groups X-Auth-Request-Access-Token X-Auth-Request-Redirect
  Remote-User Remote-Email Remote-Name Remote-Groups Remote-Sub X-Vouch-User X-Vouch-IdP-Claims-Email
  X-Forwarded-User X-Forwarded-Email X-Forwarded-Groups X-Forwarded-Login X-Forwarded-Preferred-Username
  X-Forwarded-Access-Token X-Remote-User X-Remote-Email X-Remote-Name X-Remote-Group X-Remote-Groups
  X-WEBAUTH-USER X-WEBAUTH-EMAIL X-WEBAUTH-NAME X-WEBAUTH-FULLNAME X-WEBAUTH-GROUPS X-WEBAUTH-ROLE
  X-Authentik-Username X-Authentik-Email X-Authentik-Name X-Authentik-Groups X-Authentik-Uid X-Authentik-Jwt
  Tailscale-User-Login Tailscale-User-Name Tailscale-User-Profile-Pic
  Cf-Access-Authenticated-User-Email Cf-Access-Jwt-Assertion X-Email X-User X-User-Email X-User-Id X-Username
  X-Auth-User X-Auth-Email X-Authenticated-User X-Goog-Authenticated-User-Email X-Amzn-Oidc-Identity X-Amzn-Oidc-Data
  X-Ms-Client-Principal X-Ms-Client-Principal-Name X-Hallpass-Assertion`.split(/\s+/);
/** Each in all spellings that some app treats alike, in batches that fit into one request. */
export const FORGED = IDENTITY_HEADERS.map((name) => [...new Set([name, name.toLowerCase(), name.toUpperCase(),
  ...['_', '.', '~'].flatMap((other) => [name.replaceAll('-', other), name.replaceAll('-', other).toLowerCase(),
    name.replace('-', other), name.replace(/-(?=[^-]*$)/, other)])])].map((spelling) => [spelling, 'mallory']));
export const BATCHES = Array.from({ length: Math.ceil(FORGED.length / 8) }, (_, i) => FORGED.slice(8 * i, 8 * i + 8).flat());

const valuesOf = (seen, name) => seen.headers.filter(([n]) => n.toLowerCase() === name).map(([, value]) => value);

function assertIdentity(answer, person) {
  assert.equal(answer.status, 200, answer.text);
  assert.ok(answer.json?.app, 'the app did not answer');
  for (const [name, value] of Object.entries(identityOf(person))) {
    assert.deepEqual(valuesOf(answer.json, name).filter((v) => v !== ''), value === '' ? [] : [value], name);
  }
}

/** The app got no identity, whatever the client sent. */
function assertAnonymous(answer) {
  assert.ok(answer.json?.app, answer.text);
  assert.ok(!answer.text.includes('mallory') && !answer.text.includes('hp_'), answer.text);
  for (const name of [...Object.keys(identityOf(ADA)), 'x-hallpass-assertion']) {
    assert.deepEqual(valuesOf(answer.json, name).filter((value) => value !== ''), [], name);
  }
}

/** The answers to GET requests with these headers over one connection. */
async function overHttp2(port, host, requests) {
  const session = connectHttp2(`https://127.0.0.1:${port}`, { servername: host, rejectUnauthorized: false });
  const answers = requests.map((headers) => new Promise((resolve, reject) => {
    const request = session.request({ ':method': 'GET', ':path': '/x', ':authority': host, ...headers });
    let [status, text] = [0, ''];
    request.on('response', (got) => (status = got[':status'])).on('data', (data) => (text += data)).on('error', reject);
    request.on('end', () => {
      let json;
      try { json = JSON.parse(text); } catch { /* a page */ }
      resolve({ status, text, json });
    }).end();
  }));
  try { return await Promise.all(answers); } finally { session.close(); }
}

/** Uncomments the line with `first`, and the comment lines that follow it. */
export function uncomment(text, first) {
  const lines = text.split('\n');
  const from = lines.findIndex((line) => line.includes(`# ${first}`));
  if (from < 0) throw new Error(`expected "# ${first}" in the file`);
  const to = lines.findIndex((line, i) => i > from && !/^\s*# /.test(line));
  return lines.map((line, i) => (i >= from && i < to ? line.replace('# ', '') : line)).join('\n');
}

function withPreflights(text, file) {
  if (file === 'site.conf') return uncomment(uncomment(text, 'error_page 418'), 'location @app_preflight');
  return file.endsWith('.conf') ? text : uncomment(text, '@preflight {');
}

function withRemoteUser(text, file) {
  const copied = text.replaceAll('# For an app that reads another name: request_header', 'request_header');
  return file === 'site.conf' ? text.replaceAll('include snippets/hallpass-location.conf;',
    '$& proxy_set_header X-Remote-User $hallpass_remote_user;') : copied;
}

/**
 * The tests of one proxy. `start(stack, layout, ports)` starts it, `extra` adds its own tests. `skip`
 * names the tests of what the proxy cannot do, each with the reason. `otherUpgrades` are the answers to
 * upgrades such as h2c, which do not happen. A proxy that does not pass on Hallpass's 503 has no `explainsOutages`.
 */
export function cases(start, extra = () => {},
  {
    layouts = Object.keys(LAYOUTS), skip = {}, preflights = withPreflights, remoteUser = withRemoteUser,
    otherUpgrades = [200], explainsOutages = true, down = [502, 503], http2 = false,
  } = {}) {
  const unused = new Set(Object.keys(skip));
  after(() => assert.deepEqual([...unused], [], 'there are no tests with these names'));
  const test = (title, run) => {
    unused.delete(title);
    it(title, { skip: skip[title] ?? false }, run);
  };
  for (const name of layouts) {
    const layout = LAYOUTS[name];
    describe(name, () => {
      const stack = new Stack();
      const fixture = { stack, layout, name, BROWSER, PROGRAM, ADA, EVE, DEEP, assertIdentity };
      let google, hallpass, app, proxy, port;
      const flags = (...allowed) => [
        '--client-id', CLIENT_ID, '--tokeninfo-url', google.url, '--tokeninfo-timeout', '2s', '--signin-burst', '0',
        '--google-events', '--assertion', '--keys-url', google.keysUrl, ...layout.flags, ...allowed.flatMap((domain) => ['--allow-domain', domain])];

      before(async () => {
        google = await stack.google();
        app = await stack.app();
        hallpass = await stack.hallpass(flags('example.com', 'partner.example'));
        proxy = await start(stack, name, { hallpass: hallpass.port, app: app.port });
        port = proxy.port;
        Object.assign(fixture, { google, app, hallpass, proxy, signIn, cookieOf });
      });
      after(() => stack.stop());

      async function signIn(person, headers = []) {
        const answer = await send(port, layout.auth, '/auth/signin', {
          method: 'POST', body: JSON.stringify({ id_token: idToken(person) }),
          headers: [...PROGRAM, ['Content-Type', 'application/json'], ...headers],
        });
        assert.equal(answer.status, 200, answer.text);
        const { token, id } = answer.json.session;
        assert.ok(answer.headers['set-cookie'][0].startsWith(`${layout.cookie}=${token};`));
        return { token, id };
      }
      const cookieOf = (session) => ['Cookie', `${layout.cookie}=${session.token}`];
      const get = (host, target, headers, more = {}) => send(port, host, target, { headers, ...more });

      /** Sends a request that must not reach the app. */
      async function notForwarded(act) {
        const before = app.requests;
        const answer = await act();
        assert.equal(app.requests, before, 'the app got the request');
        assert.ok(!answer.json?.app);
        return answer;
      }

      test('redirects a browser without a session to the sign-in page, with the return address', async () => {
        const answer = await notForwarded(() => get(layout.app, DEEP, BROWSER));
        assert.equal(answer.status, 302);
        const location = new URL(answer.headers.location);
        assert.equal(location.origin + location.pathname, `https://${layout.auth}/auth/signin`);
        assert.deepEqual([...location.searchParams], [['rd', `https://${layout.app}${DEEP}`]]);
      });

      test('keeps a return address that is long or has a backslash', async () => {
        for (const target of [`/${'x'.repeat(1900)}`, `/x?${'u=https://x/&'.repeat(200)}`, `/x?${'é'.repeat(5000)}`,
          `/${'x'.repeat(6000)}`, '/x?path=C:\\a\\b']) {
          const asked = target.includes('\\') ? target : encodeURI(target).slice(0, 6000);
          const answer = await notForwarded(() => get(layout.app, asked, BROWSER));
          assert.equal(answer.status, 302);
          const location = new URL(answer.headers.location);
          const place = `https://${layout.app}${asked.replaceAll('\\', '%5C')}`;
          const fits = String(new URLSearchParams({ rd: place })).length - 'rd='.length <= 8000;
          assert.equal(fits, !target.includes('é'));
          assert.equal(location.searchParams.get('rd'), fits ? place : null);
          const page = await get(layout.auth, location.pathname + location.search, BROWSER);
          assert.equal(page.status, 200);
          if (!fits) continue;
          const post = await send(port, layout.auth, '/auth/signin', {
            method: 'POST', headers: [...BROWSER, ['Content-Type', 'application/x-www-form-urlencoded'],
              ['Cookie', 'g_csrf_token=abc']].filter(([name]) => name !== 'Sec-Fetch-Site'),
            body: String(new URLSearchParams({ credential: idToken(ADA), g_csrf_token: 'abc', state: place })),
          });
          assert.deepEqual([post.status, post.headers.location], [303, place]);
        }
      });

      test('answers a program without a session with 401 and no redirect', async () => {
        for (const headers of [PROGRAM, [], CURL, [...PROGRAM, ['Cookie', `${layout.cookie}=hp_nonsense`]],
          [...PROGRAM, ['Authorization', 'Bearer hp_nonsense']], [['Accept', '*/*'], ['Sec-Fetch-Mode', 'cors']],
          [...BROWSER, ['X-Requested-With', 'XMLHttpRequest']], [...BROWSER, ['Authorization', 'Basic YTpi']]]) {
          for (const method of ['GET', 'POST', 'HEAD', 'DELETE', 'OPTIONS', 'PROPFIND', 'PUT']) {
            const body = ['POST', 'PUT'].includes(method) ? 'x=1' : undefined;
            const answer = await notForwarded(() => get(layout.app, DEEP, headers, { method, body }));
            assert.equal(answer.status, 401);
            assert.equal(answer.headers.location, undefined);
            assert.match(answer.headers['www-authenticate'], /^Bearer realm="hallpass"(, error="invalid_token")?$/);
            if (method !== 'HEAD') assert.equal(answer.json.error, 'unauthenticated');
          }
        }
      });

      test('lets no method and no form of the target through without a session', async () => {
        const requests = ['TRACE', 'PATCH', 'MKCOL', 'REPORT', 'M-SEARCH', 'QUERY', 'get'].map((method) => [method, '/x']);
        requests.push(['OPTIONS', '*'], ['GET', `http://${layout.app}/x`], ['GET', 'https://evil.example/x'],
          ['GET', `https://${layout.auth}/auth/me`], ['GET', '//evil.example/x'], ['GET', '/x#y'], ['GET', '/auth/../x']);
        for (const [method, target] of requests) {
          const answer = await notForwarded(() => get(layout.app, target, PROGRAM, { method }));
          // An unknown host is not the app, and Caddy answers it with an empty 200.
          if (method === 'OPTIONS' || target.startsWith('https://evil')) continue;
          assert.ok(answer.status >= 400, `${method} ${target}: ${answer.status}`);
        }
      });

      test('answers a browser\'s POST without a session with 401 and a page', async () => {
        for (const method of ['POST', 'PUT', 'DELETE']) {
          const answer = await notForwarded(() => get(layout.app, DEEP, BROWSER, { method, body: 'x=1' }));
          assert.deepEqual([answer.status, answer.headers.location], [401, undefined]);
          assert.match(answer.headers['content-type'], /^text\/html/);
          assert.ok(answer.text.includes('/auth/signin'), 'the page has no link to the sign-in page');
        }
      });

      test('passes preflights to the app only if configured to', async () => {
        const preflight = [['Accept', '*/*'], ['Origin', 'https://spa.example.net'],
          ['Access-Control-Request-Method', 'PUT'], ['Sec-Fetch-Mode', 'cors']];
        const options = { method: 'OPTIONS' };
        assert.equal((await notForwarded(() => get(layout.app, '/api', preflight, options))).status, 401);
        assert.equal((await notForwarded(() => get(layout.app, '/api',
          [...preflight.slice(2), ['Origin', `https://${layout.auth}`]], options))).status, 401);
        const open = await start(stack, name, { hallpass: hallpass.port, app: app.port, change: preflights });
        const there = (headers, more) => send(open.port, layout.app, '/api', { headers, ...more });
        const own = [['Cookie', `a=1; ${layout.cookie}=${(await signIn(ADA)).token}`], ['Remote-User', 'mallory']];
        const answer = await there([...preflight, ...own], options);
        assert.deepEqual([answer.status, answer.json?.method], [200, 'OPTIONS']);
        assertAnonymous(answer);
        for (const [headers, more] of [[preflight, {}], [preflight.slice(0, 2), options], [preflight.slice(2), options],
          [preflight, { method: 'POST', body: 'x=1' }]]) {
          assert.equal((await notForwarded(() => there(headers, more))).status, 401);
        }
        await open.stop();
      });

      test('gives the app the identity for a cookie, a bearer token and an ID token', async () => {
        for (const person of [ADA, EVE, NAMELESS]) {
          const session = await signIn(person);
          assertIdentity(await get(layout.app, DEEP, [...PROGRAM, cookieOf(session)]), person);
          const bearer = await get(layout.app, '/x', [...PROGRAM, ['Authorization', `Bearer ${session.token}`]]);
          assertIdentity(bearer, person);
          const token = await get(layout.app, '/x', [...PROGRAM, ['Authorization', `Bearer ${idToken(person)}`]]);
          assertIdentity(token, person);
        }
      });

      test('passes on Google\'s security events', async () => {
        const [session, other] = [await signIn(EVE), await signIn(ADA)];
        const status = async (owner) => (await get(layout.app, '/x', [...PROGRAM, cookieOf(owner)])).status;
        const deliver = (body) => notForwarded(() => send(port, layout.auth, '/auth/google/events',
          { method: 'POST', body, headers: [['Content-Type', 'application/secevent+jwt']] }));
        const event = google.event('sessions-revoked', EVE.sub);
        const refused = await deliver(`${event.slice(0, -300)}${'A'.repeat(300)}`);
        assert.deepEqual([refused.status, refused.json.err], [400, 'invalid_key']);
        assert.equal(await status(session), 200);
        for (let delivery = 0; delivery < 2; delivery += 1) assert.equal((await deliver(event)).status, 202);
        assert.deepEqual([await status(session), await status(other)], [401, 200]);
      });

      test('forwards target, method and body unchanged', async () => {
        const session = await signIn(ADA);
        const body = crypto.randomBytes(2_400_000).toString('base64');
        for (const chunked of [false, true]) {
          const headers = [cookieOf(session), ['Content-Type', 'text/plain']];
          const answer = await get(layout.app, DEEP, headers, { method: 'PUT', body, chunked });
          assertIdentity(answer, ADA);
          assert.deepEqual([answer.json.method, answer.json.url, answer.json.length], ['PUT', DEEP, body.length]);
          assert.equal(answer.json.hash, crypto.createHash('sha256').update(body).digest('hex'));
        }
        for (const status of [401, 403, 500]) {
          const answer = await get(layout.app, `/status/${status}`, [...BROWSER, cookieOf(session)]);
          assert.ok(answer.status === status && answer.json.app, 'the app\'s own error was replaced');
        }
      });

      test('returns a browser to the same URL after sign-in', async () => {
        const first = await get(layout.app, DEEP, BROWSER);
        const signinUrl = new URL(first.headers.location);
        const page = await get(signinUrl.host, signinUrl.pathname + signinUrl.search, BROWSER);
        const attribute = /data-state="([^"]*)"/.exec(page.text)[1].replaceAll('&amp;', '&');
        assert.equal(attribute, `https://${layout.app}${DEEP}`);
        const post = await send(port, layout.auth, '/auth/signin', {
          method: 'POST',
          headers: [...BROWSER.filter(([n]) => n !== 'Sec-Fetch-Site'), ['Origin', 'https://accounts.google.com'],
            ['Sec-Fetch-Site', 'cross-site'], ['Content-Type', 'application/x-www-form-urlencoded'],
            ['Cookie', 'g_csrf_token=abc']],
          body: String(new URLSearchParams({ credential: idToken(ADA), g_csrf_token: 'abc', state: attribute })),
        });
        assert.deepEqual([post.status, post.headers.location], [303, `https://${layout.app}${DEEP}`]);
        const [cookie] = post.headers['set-cookie'];
        assert.match(cookie, /; HttpOnly; SameSite=Lax; Secure/);
        const last = await get(layout.app, DEEP, [...BROWSER, ['Cookie', cookie.split(';')[0]]]);
        assertIdentity(last, ADA);
        assert.equal(last.json.url, DEEP);
      });

      test('shows users who are not on the list the 403 page, without a redirect', async () => {
        const [host, target] = layout.listed;
        for (const person of layout.notOnTheList) {
          const session = await signIn(person);
          const page = await notForwarded(() => get(host, target, [...BROWSER, cookieOf(session)]));
          assert.equal(page.status, 403);
          assert.equal(page.headers.location, undefined);
          assert.match(page.headers['content-type'], /^text\/html/);
          assert.ok(page.text.includes(person.email ?? person.sub), 'the page does not name the account');
          assert.ok(page.text.includes(encodeURIComponent(`https://${host}${target}`)), 'the return address is lost');
          const posted = await notForwarded(() => get(host, target, [...BROWSER, cookieOf(session)],
            { method: 'POST', body: 'x=1' }));
          assert.deepEqual([posted.status, posted.headers.location], [403, undefined]);
          const program = await notForwarded(() => get(host, target, [...PROGRAM, cookieOf(session)]));
          assert.deepEqual([program.status, program.json?.error], [403, 'access_denied']);
        }
        for (const person of layout.onTheList) {
          assertIdentity(await get(host, target, [...BROWSER, cookieOf(await signIn(person))]), person);
        }
        const eve = cookieOf(await signIn(layout.notOnTheList[0]));
        for (const spelling of layout.spellings ?? []) {
          const answer = await notForwarded(() => get(host, spelling, [...PROGRAM, eve]));
          assert.equal(answer.status, 403, spelling);
        }
        for (const other of layout.others ?? []) {
          assert.equal((await get(host, other, [...PROGRAM, eve])).status, 200, other);
        }
        const widened = `${target}?allowed_domains=partner.example`;
        const wider = await notForwarded(() => get(host, widened, [...PROGRAM, eve]));
        assert.equal(wider.status, 403, 'the client widened the list');
        const outsider = await send(port, layout.auth, '/auth/signin', {
          method: 'POST', body: String(new URLSearchParams({ idToken: idToken(OUTSIDER) })),
          headers: [...PROGRAM, ['Content-Type', 'application/x-www-form-urlencoded']],
        });
        assert.deepEqual([outsider.status, outsider.headers['set-cookie']], [403, undefined]);
      });

      test('refuses a revoked session on the next request', async () => {
        const [one, other] = [await signIn(ADA), await signIn(ADA)];
        assertIdentity(await get(layout.app, '/x', [...PROGRAM, cookieOf(one)]), ADA);
        const end = await get(layout.auth, `/auth/sessions/${one.id}`, [cookieOf(other)], { method: 'DELETE' });
        assert.equal(end.status, 204);
        const answer = await notForwarded(() => get(layout.app, '/x', [...PROGRAM, cookieOf(one)]));
        assert.equal(answer.status, 401);
        const page = await notForwarded(() => get(layout.app, '/x', [...BROWSER, cookieOf(one)]));
        assert.equal(page.status, 302);
        assertIdentity(await get(layout.app, '/x', [...PROGRAM, cookieOf(other)]), ADA);
        const out = await get(layout.auth, '/auth/signout', [cookieOf(other)], { method: 'POST', body: '' });
        assert.equal(out.status, 204);
        assert.equal((await notForwarded(() => get(layout.app, '/x', [cookieOf(other)]))).status, 401);
      });

      test('removes forged identity headers in all spellings', async () => {
        for (const person of [ADA, NAMELESS]) {
          const session = await signIn(person);
          for (const headers of [...BATCHES, [...BATCHES[0], ...BATCHES[0]]]) {
            const answer = await get(layout.app, '/x', [...PROGRAM, cookieOf(session), ...headers]);
            assertIdentity(answer, person);
            assert.ok(!answer.text.includes('mallory'), answer.text);
          }
        }
        assert.equal((await notForwarded(() => get(layout.app, '/x', [...PROGRAM, ...BATCHES[0]]))).status, 401);
      });

      test('passes on the signed identity, and no forged one', async () => {
        const { keys } = await (await fetch(`http://127.0.0.1:${hallpass.port}/auth/jwks`)).json();
        const session = await signIn(ADA);
        for (const forged of [[], [['X-Hallpass-Assertion', 'e30.e30.mallory']],
          [['x-hallpass-assertion', 'a.b.mallory'], ['X-HALLPASS-ASSERTION', 'c.d.mallory']]]) {
          const answer = await get(layout.app, DEEP, [...PROGRAM, cookieOf(session), ...forged]);
          assertIdentity(answer, ADA);
          const sent = valuesOf(answer.json, 'x-hallpass-assertion');
          assert.equal(sent.length, 1, answer.text);
          const [header, payload, signature] = sent[0].split('.').map((part) => Buffer.from(part, 'base64url'));
          const jwk = keys.find(({ kid }) => kid === JSON.parse(header).kid);
          const key = { key: crypto.createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' };
          const signed = Buffer.from(sent[0].slice(0, sent[0].lastIndexOf('.')));
          assert.ok(crypto.verify('sha256', signed, key, signature), 'the signature is wrong');
          const { iss, aud, sub } = JSON.parse(payload);
          assert.deepEqual([iss, aud, sub], [layout.flags[1], `https://${layout.app}`, ADA.sub]);
          assertAnonymous(await get(layout.app, PUBLIC, [...PROGRAM, cookieOf(session), ...forged]));
        }
      });

      test('gives an app the identity in another header', async () => {
        const proxy = await start(stack, name, { hallpass: hallpass.port, app: app.port, change: remoteUser });
        const headers = [...PROGRAM, cookieOf(await signIn(ADA)), ['X-Remote-User', 'mallory']];
        const answer = await send(proxy.port, layout.app, '/x', { headers });
        assertIdentity(answer, ADA);
        assert.deepEqual(valuesOf(answer.json, 'x-remote-user'), [ADA.email]);
        await proxy.stop();
      });

      test('keeps identity headers that a client names in Connection', async () => {
        const session = await signIn(ADA);
        const names = Object.keys(identityOf(ADA));
        for (const connection of [`keep-alive, ${names.join(', ')}`, `close, ${names.join(',').toUpperCase()}`,
          'close, Cookie, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Uri', 'upgrade', 'Upgrade, Remote-User']) {
          const answer = await get(layout.app, DEEP, [...PROGRAM, cookieOf(session)], { connection });
          assertIdentity(answer, ADA);
          assert.deepEqual(valuesOf(answer.json, 'x-forwarded-for'), ['127.0.0.1']);
          assert.deepEqual(valuesOf(answer.json, 'x-forwarded-host'), [layout.app]);
          const [auth, rd] = [await get(layout.app, DEEP, BROWSER, { connection }), `https://${layout.app}${DEEP}`];
          assert.equal(new URL(auth.headers.location).searchParams.get('rd'), rd);
          const list = await get(layout.auth, '/auth/sessions', [...PROGRAM, cookieOf(session)],
            { connection: 'close, X-Forwarded-For' });
          assert.ok(list.json.sessions.every((s) => s.client_address === '127.0.0.1'), list.text);
        }
        const socket = await upgrade(port, layout.app, '/x', [cookieOf(session)],
          { connection: `Upgrade, ${names.join(', ')}` });
        assertIdentity({ status: socket.status === 101 ? 200 : socket.status, json: socket.app }, ADA);
      });

      test('drops trailers', async () => {
        app.trailers = undefined;
        const answer = await get(layout.app, '/x', [cookieOf(await signIn(ADA)), ['Trailer', 'Remote-User, X-Own']],
          { method: 'POST', body: 'x=1', chunked: true, trailers: { 'Remote-User': 'mallory', 'X-Own': '1' } });
        assertIdentity(answer, ADA);
        assert.equal(app.trailers, undefined);
      });

      test('passes only WebSocket upgrades', async () => {
        const session = await signIn(ADA);
        for (const protocol of ['h2c', 'websocket, h2c', 'tcp', 'TLS/1.2']) {
          const answer = await upgrade(port, layout.app, '/x', [cookieOf(session),
            ['HTTP2-Settings', 'AAMAAABkAAQAAP__']], { protocol, connection: 'Upgrade, HTTP2-Settings' });
          assert.ok(otherUpgrades.includes(answer.status), `${protocol}: ${answer.status}`);
        }
      });

      test('passes public paths without a check, an identity or the session', async () => {
        const own = `${layout.cookie}=${(await signIn(ADA)).token}`;
        for (const headers of [PROGRAM, BROWSER, ...BATCHES]) {
          for (const method of ['GET', 'POST']) {
            const answer = await get(layout.app, PUBLIC, [...headers, ['Cookie', `a=1; ${own}`]],
              { method, body: method === 'POST' ? 'x=1' : undefined });
            assert.equal(answer.status, 200);
            assertAnonymous(answer);
            assert.deepEqual(valuesOf(answer.json, 'cookie'), ['a=1']);
            assert.deepEqual(valuesOf(answer.json, 'x-forwarded-for'), ['127.0.0.1']);
          }
        }
        const bearer = await get(layout.app, PUBLIC, [['Authorization', `Bearer ${own.split('=')[1]}`]]);
        assertAnonymous(bearer);
        for (const target of [`${PUBLIC}/x`, `${PUBLIC}x`, `/x${PUBLIC}`, `${PUBLIC}/../x`, `${PUBLIC};x`,
          `${PUBLIC}%2f..%2fx`, `${PUBLIC}/..;/x`]) {
          assert.equal((await notForwarded(() => get(layout.app, target, PROGRAM))).status, 401, target);
        }
      });

      test('removes forged addresses, hosts and paths', async () => {
        const forged = [
          ['X-Forwarded-Proto', 'http'], ['X-Forwarded-Host', 'evil.example'], ['X-Forwarded-Uri', '/evil'],
          ['X-Forwarded-For', '6.6.6.6'], ['X-Forwarded-Method', 'EVIL'], ['X-Real-IP', '6.6.6.6'],
          ['X-Forwarded-Prefix', '/evil'], ['Forwarded', 'for=6.6.6.6;host=evil.example'], ['X-Original-URI', '/evil'],
          ['X-Original-URL', 'https://evil.example/'], ['X-Original-Method', 'EVIL'], ['X-Rewrite-URL', '/evil'],
          ['X-Script-Name', '/evil'], ['X-Forwarded-Server', 'evil.example'], ['X-Forwarded-Port', '666']];
        const answer = await get(layout.app, DEEP, [...BROWSER, ...forged]);
        const rd = new URL(answer.headers.location).searchParams.get('rd');
        assert.equal(rd, `https://${layout.app}${DEEP}`);
        const session = await signIn(ADA, forged);
        const exchanged = [...PROGRAM, ...forged, ['Authorization', `Bearer ${idToken(ADA)}`]];
        assertIdentity(await get(layout.app, '/x', exchanged), ADA);
        const list = await get(layout.auth, '/auth/sessions', [...PROGRAM, cookieOf(session)]);
        assert.ok(list.json.sessions.every((s) => s.client_address === '127.0.0.1'), list.text);
        const page = await get(...layout.listed, [...BROWSER, ...forged, cookieOf(await signIn(EVE))]);
        assert.equal(page.status, 403);
        assert.ok(!page.text.includes('evil.example') && page.text.includes(encodeURIComponent('https://')));
        const seen = (await get(layout.app, DEEP, [...PROGRAM, ...forged, cookieOf(session)])).json;
        assert.deepEqual(valuesOf(seen, 'x-forwarded-for'), ['127.0.0.1']);
        assert.deepEqual(valuesOf(seen, 'x-forwarded-proto'), ['https']);
        assert.deepEqual(valuesOf(seen, 'x-forwarded-host'), [layout.app]);
        assert.deepEqual(valuesOf(seen, 'host'), [layout.app]);
        assert.ok(valuesOf(seen, 'x-forwarded-uri').every((uri) => uri === DEEP));
        assert.ok(!valuesOf(seen, 'x-real-ip').includes('6.6.6.6'));
        assert.ok(!/evil|666/i.test(JSON.stringify(seen)), JSON.stringify(seen));
      });

      test('removes the session from the app\'s request, and nothing else', async () => {
        const { token } = await signIn(ADA);
        const own = `${layout.cookie}=${token}`;
        const table = [
          [own, ''], [`a=1; ${own}`, 'a=1'], [`${own}; b=2`, 'b=2'], [`a=1; ${own}; b=2`, 'a=1; b=2'],
          [`a=1;${own};b=2`, 'a=1;b=2'], [`${own}; ${own}; b=2; ${own}`, 'b=2'],
          [`a=1; ${own}; b=2; hallpass=hp_x; c=3; __Host-hallpass=hp_y; __Secure-hallpass=hp_z`, 'a=1; b=2; c=3'],
          [`nothallpass=1; hallpass2=2; my__Host-hallpass=3; ${own}`,
            'nothallpass=1; hallpass2=2; my__Host-hallpass=3'],
          [`q="x=y; z"; ${own}; e=`, 'q="x=y; z"; e='],
        ];
        for (const [sent, expected] of table) {
          const answer = await get(layout.app, '/x', [...PROGRAM, ['Cookie', sent]]);
          assertIdentity(answer, ADA);
          const got = valuesOf(answer.json, 'cookie').join('; ').replace(/;\s*/g, '; ');
          assert.equal(got, expected.replace(/;\s*/g, '; '), sent);
        }
        const many = await get(layout.app, '/x', [...PROGRAM, ['Cookie', Array(9).fill(own).join('; ')]]);
        assertIdentity(many, ADA);
        assert.ok(!many.text.includes('hp_'), 'a session cookie is left');
        const lines = await get(layout.app, '/x', [...PROGRAM, ['Cookie', 'a=1'], ['Cookie', own], ['Cookie', 'b=2']]);
        assertIdentity(lines, ADA);
        assert.ok(!lines.text.includes('hp_') && lines.text.includes('a=1') && lines.text.includes('b=2'), lines.text);

        for (const scheme of ['Bearer', 'bearer', 'BEARER ']) {
          const answer = await get(layout.app, '/x', [...PROGRAM, ['Authorization', `${scheme} ${token}`]]);
          assertIdentity(answer, ADA);
          assert.deepEqual(valuesOf(answer.json, 'authorization'), []);
        }
        // Programs send a token as the password, which base64 encodes in three ways.
        for (const user of ['', 'a', 'ab', 'ada@example.com']) {
          const basic = Buffer.from(`${user}:${token}`).toString('base64');
          for (const value of [`Basic ${basic}`, `basic  ${basic.replaceAll('+', '-').replaceAll('/', '_')}`]) {
            const answer = await get(layout.app, '/x', [...PROGRAM, ['Cookie', own], ['Authorization', value]]);
            assertIdentity(answer, ADA);
            assert.deepEqual(valuesOf(answer.json, 'authorization'), []);
          }
        }
        for (const value of ['Basic YTpi', 'Bearer of-the-app', 'Bearer a.b.c',
          `Basic ${Buffer.from(`hp_${'a'.repeat(43)}:b`).toString('base64')}`]) {
          const answer = await get(layout.app, '/x', [...PROGRAM, ['Cookie', own], ['Authorization', value]]);
          assertIdentity(answer, ADA);
          assert.deepEqual(valuesOf(answer.json, 'authorization'), [value]);
        }
      });

      test('checks a request with larger cookies than Hallpass accepts', async () => {
        const session = await signIn(ADA);
        const big = Array.from({ length: 6 }, (_, i) => ['Cookie', `app${i}=${'x'.repeat(3900)}; b${i}="y"`]);
        for (const cookies of [[cookieOf(session), ...big], [...big, cookieOf(session)]]) {
          const answer = await get(layout.app, '/x', [...PROGRAM, ...cookies]);
          assertIdentity(answer, ADA);
          assert.ok(answer.text.includes('app5=xxx') && !answer.text.includes('hp_'));
        }
        const [, own] = cookieOf(session);
        const several = `a=1; ${layout.cookie}=hp_${'x'.repeat(43)};${layout.cookie}=junk; ${own} ;z=2`;
        assertIdentity(await get(layout.app, '/x', [...PROGRAM, ['Cookie', several]]), ADA);
        const alike = `my${own}; ${layout.cookie}2=${session.token}`;
        assert.equal((await notForwarded(() => get(layout.app, '/x', [...PROGRAM, ['Cookie', alike]]))).status, 401);
      });

      test('forwards server-sent events at once', async () => {
        const events = await stream(port, layout.app, '/events', [cookieOf(await signIn(ADA))]);
        await until('the first event is there', () => events.text.includes('data: first'));
        app.tell('second');
        await until('the second event is there', () => events.text.includes('data: second'));
        events.end();
      });

      test('lets git clone and push with a session, and not without', async () => {
        const run = (args, cwd = stack.folder) => promisify(execFile)('git', args, {
          cwd, env: { ...process.env, GIT_TERMINAL_PROMPT: '0', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' },
        });
        const [bare, work] = [path.join(app.git, 'repo.git'), path.join(stack.folder, 'work')];
        await run(['init', '--quiet', '--bare', '--initial-branch=main', bare]);
        await run(['-C', bare, 'config', 'http.receivepack', 'true']);
        const url = `https://${layout.app}:${port}/git/repo.git`;
        const reach = ['-c', 'http.sslVerify=false', '-c', `http.curloptResolve=${layout.app}:${port}:127.0.0.1`];
        const stranger = () => run([...reach, 'clone', '--quiet', url, work]);
        await assert.rejects(() => notForwarded(stranger), /401|Authentication|username/i);
        const { token } = await signIn(ADA);
        const signedIn = [...reach, '-c', `http.extraHeader=Authorization: Bearer ${token}`];
        await run([...signedIn, 'clone', '--quiet', url, work]);
        fs.writeFileSync(path.join(work, 'large'), crypto.randomBytes(3_000_000));
        await run(['add', 'large'], work);
        await run(['-c', 'user.name=Ada', '-c', 'user.email=ada@example.com', 'commit', '--quiet', '-m', 'Add'], work);
        await run([...signedIn, 'push', '--quiet', 'origin', 'HEAD:main'], work);
        const [local, remote] = await Promise.all([run(['rev-parse', 'HEAD'], work), run(['rev-parse', 'main'], bare)]);
        assert.equal(remote.stdout, local.stdout);
      });

      /** What real programs need to reach a proxy as Ada: her token, and one that has ended. */
      async function programs(at) {
        const session = await signIn(ADA);
        const [{ token }, ended] = [await clients.tokenOf({ port, layout, session }),
          await clients.tokenOf({ port, layout, session })];
        const end = await get(layout.auth, `/auth/sessions/${ended.id}`, [cookieOf(session)], { method: 'DELETE' });
        assert.equal(end.status, 204);
        const tunnelPort = await clients.tunnel(stack, at.port);
        return { stack, layout, tunnelPort, token, other: ended.token, authority: at.authority };
      }

      test('lets curl in with a token as the password', async () => {
        await clients.curl(await programs(proxy));
      });

      test('lets WebDAV clients in with a token as the password', async () => {
        const dav = await clients.davServer(stack);
        const open = await start(stack, name,
          { hallpass: hallpass.port, app: dav.port, change: clients.withChallenge });
        const at = { ...await programs(open), files: dav.files };
        await clients.webdav(at);
        await clients.cadaver(at);
        await open.stop();
        await dav.stop();
      });

      test('lets git in with a token as the password', async () => {
        const repository = path.join(app.git, 'repo.git');
        fs.rmSync(repository, { recursive: true, force: true });
        await promisify(execFile)('git', ['init', '--quiet', '--bare', '--initial-branch=main', repository]);
        await promisify(execFile)('git', ['-C', repository, 'config', 'http.receivepack', 'true']);
        const open = await start(stack, name,
          { hallpass: hallpass.port, app: app.port, change: clients.withChallenge });
        await clients.git({ ...await programs(open), repository });
        await open.stop();
      });

      test('lets a calendar client in with a token as the password', async () => {
        const server = await clients.radicale(stack);
        const open = await start(stack, name, {
          hallpass: hallpass.port, app: server.port,
          change: (text, file) => clients.withChallenge(remoteUser(text, file), file),
        });
        await clients.calendar({ ...await programs(open), server, user: ADA.email });
        await open.stop();
        await server.stop();
      });

      test('passes a WebSocket after the check, and refuses one without a session', async () => {
        const open = await upgrade(port, layout.app, '/socket?x=1', [cookieOf(await signIn(ADA)), ['Cookie', 'a=1']]);
        assert.equal(open.status, 101);
        assertIdentity({ status: 200, json: open.app }, ADA);
        assert.equal(open.app.url, '/socket?x=1');
        assert.ok(!JSON.stringify(open.app).includes('hp_'));
        const before = app.requests;
        assert.equal((await upgrade(port, layout.app, '/socket')).status, 401);
        const [host, target] = layout.listed;
        assert.equal((await upgrade(port, host, target, [cookieOf(await signIn(EVE))])).status, 403);
        assert.equal(app.requests, before);
      });

      test('exposes only the paths of Hallpass under /auth/', async () => {
        for (const target of ['/healthz', '/readyz', '/metrics', '/auth/../healthz', '/auth/%2e%2e/healthz']) {
          const answer = await notForwarded(() => get(layout.auth, target, PROGRAM));
          assert.ok(answer.status >= 400, `${target}: ${answer.status}`);
        }
        const plain = await new Promise((resolve, reject) => {
          import('node:http').then(({ get: plainly }) => plainly({
            host: '127.0.0.1', port: proxy.plain, path: '/x?y=1', headers: { Host: layout.app }, agent: false,
          }, resolve).on('error', reject));
        });
        plain.resume();
        assert.ok([301, 308].includes(plain.statusCode));
        assert.equal(plain.headers.location, `https://${layout.app}/x?y=1`);
      });

      extra(fixture);

      test('serves live sessions while Google is down', async () => {
        const session = await signIn(ADA);
        const token = idToken(ADA);
        const bearer = (value) => [...PROGRAM, ['Authorization', `Bearer ${value}`]];
        assertIdentity(await get(layout.app, '/x', bearer(token)), ADA);
        google.down = true;
        try {
          const calls = google.calls;
          assertIdentity(await get(layout.app, '/x', [...PROGRAM, cookieOf(session)]), ADA);
          assertIdentity(await get(layout.app, '/x', bearer(token)), ADA);
          assert.equal(google.calls, calls, 'Google was asked about a known session');
          const answer = await notForwarded(() => get(layout.app, '/x', bearer(idToken(ADA))));
          assert.equal(answer.status, 503);
          if (!explainsOutages) return;
          assert.equal(answer.json.error, 'temporarily_unavailable');
          assert.ok(Number(answer.headers['retry-after']) > 0);
        } finally {
          google.down = false;
        }
      });

      test('lets nobody in while Hallpass is down, and applies a changed list after its restart', async () => {
        const [ada, eve] = [await signIn(ADA), await signIn(EVE)];
        await hallpass.stop();
        // At once, because HAProxy tries again for seconds.
        await Promise.all([[...BROWSER, cookieOf(ada)], [...PROGRAM, cookieOf(ada)], BROWSER, PROGRAM].map(async (headers) => {
          const answer = await notForwarded(() => get(layout.app, '/x', headers));
          assert.ok(down.includes(answer.status), String(answer.status));
        }));
        await hallpass.start(flags('example.com'));
        assertIdentity(await get(layout.app, '/x', [...PROGRAM, cookieOf(ada)]), ADA);
        const page = await notForwarded(() => get(layout.app, '/x', [...BROWSER, cookieOf(eve)]));
        assert.deepEqual([page.status, page.headers.location], [403, undefined]);
        assert.ok(page.text.includes(EVE.email));
      });

      if (http2) {
        test('guards HTTP/2 like HTTP/1.1', async () => {
          const { token } = await signIn(ADA);
          const forged = { remote_user: 'mallory', 'x-remote-user': 'mallory', 'x-forwarded-host': 'evil.example' };
          // Browsers send each cookie as a header of its own.
          const cookies = ['a=1', `${layout.cookie}=${token}`, 'b=2'];
          const [first, ...others] = await overHttp2(port, layout.app, [
            { ...forged, cookie: cookies }, { ...forged, cookie: 'a=1' }, { ...forged, ':method': 'POST', te: 'trailers' },
            { ':path': '/auth/../x' }, { ':path': '//x' }]);
          assertIdentity(first, ADA);
          assert.ok(!/mallory|evil|hp_/.test(first.text), first.text);
          assert.deepEqual(valuesOf(first.json, 'x-forwarded-host'), [layout.app]);
          assert.equal(valuesOf(first.json, 'cookie').join('; ').replace(/;\s*/g, '; '), 'a=1; b=2');
          for (const answer of others) assert.equal(answer.status, 401, answer.text);
        });
      }

      test('accepts a chunked sign-in', async () => {
        const answer = await send(port, layout.auth, '/auth/signin', {
          method: 'POST', body: JSON.stringify({ id_token: idToken(ADA) }), chunked: true,
          headers: [...PROGRAM, ['Content-Type', 'application/json']],
        });
        assert.equal(answer.status, 200, answer.text);
      });

      test('answers 431, not 503, to headers that are too large for Hallpass', async () => {
        const long = 'x'.repeat(7_000);
        const headers = [['Authorization', `Bearer ${long}`], ['User-Agent', long], cookieOf(await signIn(ADA))];
        const answer = await notForwarded(() => get(layout.app, `/${long}`, headers));
        assert.equal(answer.status, 431, answer.text);
        assert.equal(answer.json.error, 'headers_too_large');
        assert.equal(answer.headers['retry-after'], undefined);
      });
    });
  }
}
