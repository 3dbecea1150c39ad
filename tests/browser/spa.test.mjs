// docs/examples/spa.html, served from another origin of the same site.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, it } from 'node:test';
import { CLIENT_ID, ROOT, Stack, substitute } from '../proxies/stack.mjs';
import { Visitor, launch } from './browser.mjs';
import { PEOPLE, accounts } from './google.mjs';

const stack = new Stack();
let browser, hallpass, base, page, stranger;

before(async () => {
  const text = fs.readFileSync(path.join(ROOT, 'docs/examples/spa.html'), 'utf8');
  let served;
  const serve = () => stack.listen(http.createServer((request, response) => {
    response.writeHead(request.url === '/' ? 200 : 404, { 'Content-Type': 'text/html; charset=utf-8' }).end(served);
  }));
  [page, stranger] = [`http://localhost:${await serve()}`, `http://localhost:${await serve()}`];
  const google = await stack.google();
  hallpass = await stack.hallpass(['--client-id', CLIENT_ID, '--tokeninfo-url', google.url, '--allow-domain',
    'example.com', '--signin-burst', '0', '--allow-origin', page]);
  base = `http://localhost:${hallpass.port}`;
  served = substitute(text, [['https://auth.example.com', base], ['WEB.apps.googleusercontent.com', CLIENT_ID]]);
  browser = await launch(stack, { 'accounts.google.com:443': await accounts(stack, []) });
});
after(() => stack.stop());

async function signIn(visitor, person) {
  await visitor.page.frameLocator('iframe').getByRole('button').waitFor();
  const opened = visitor.context.waitForEvent('page');
  await visitor.page.frameLocator('iframe').getByRole('button').click();
  const popup = await opened;
  const closed = popup.waitForEvent('close');
  // The popup closes itself, which would interrupt a click by the driver.
  await popup.locator(`#${person}`).evaluate((button) => { setTimeout(() => button.click()); });
  await closed;
}
const status = (visitor, text) => visitor.page.getByRole('status').getByText(text).waitFor();

it('signs in, stays signed in over a reload, and signs out', async () => {
  const visitor = await Visitor.arrive(browser);
  await visitor.page.goto(page);
  await status(visitor, 'Please sign in.');
  await signIn(visitor, 'ada');
  await status(visitor, `Signed in as ${PEOPLE.ada.name}`);
  await visitor.page.reload();
  await status(visitor, `Signed in as ${PEOPLE.ada.name}`);
  await visitor.look('spa');
  const cookies = await visitor.context.cookies(base);
  const { value, httpOnly, sameSite } = cookies.find((cookie) => cookie.name === 'hallpass');
  assert.deepEqual([httpOnly, sameSite], [true, 'Lax']);
  const ended = await visitor.page.evaluate(async (address) => {
    const { session } = await (await fetch(`${address}/auth/me`, { credentials: 'include' })).json();
    const missing = await fetch(`${address}/auth/sessions/nothing`, { method: 'DELETE', credentials: 'include' });
    return [typeof session.id, session.token, missing.status];
  }, base);
  assert.deepEqual(ended, ['string', undefined, 404]);
  await visitor.page.getByRole('button', { name: 'Sign out' }).click();
  await status(visitor, 'Please sign in.');
  const answer = await fetch(`${base}/auth/me`, { headers: { Authorization: `Bearer ${value}` } });
  assert.equal(answer.status, 401);
  await signIn(visitor, 'grace');
  await status(visitor, `Signed in as ${PEOPLE.grace.name}`);
  await visitor.leave();
});

it('explains the refusal of an account and accepts another', async () => {
  const visitor = await Visitor.arrive(browser);
  await visitor.page.goto(page);
  await signIn(visitor, 'pat');
  await status(visitor, 'not on the list');
  await signIn(visitor, 'ada');
  await status(visitor, `Signed in as ${PEOPLE.ada.name}`);
  await visitor.leave();
});

it('gets nothing from an origin that is not allowed', async () => {
  const visitor = await Visitor.arrive(browser);
  await visitor.page.goto(page);
  await signIn(visitor, 'ada');
  await status(visitor, `Signed in as ${PEOPLE.ada.name}`);
  const before = await visitor.context.cookies(base);
  await visitor.page.goto(stranger);
  await status(visitor, 'Failed to fetch');
  await signIn(visitor, 'grace');
  await status(visitor, 'Failed to fetch');
  const read = await visitor.page.evaluate((address) => Promise.all([
    fetch(`${address}/auth/me`, { credentials: 'include' }),
    fetch(`${address}/auth/signout`, { method: 'POST', credentials: 'include' }),
  ].map((asked) => asked.then(() => 'read', () => 'refused'))), base);
  assert.deepEqual(read, ['refused', 'refused']);
  assert.deepEqual(await visitor.context.cookies(base), before);
  await visitor.page.goto(page);
  await status(visitor, `Signed in as ${PEOPLE.ada.name}`);
  await visitor.context.close();
});

it('gets preflights answered for its own origin only', async () => {
  const preflight = (origin, method, headers) => fetch(`${base}/auth/signin`, {
    method: 'OPTIONS',
    headers: { Origin: origin, 'Access-Control-Request-Method': method, 'Access-Control-Request-Headers': headers },
  });
  const good = await preflight(page, 'POST', 'authorization,content-type');
  assert.equal(good.status, 204);
  assert.equal(good.headers.get('access-control-allow-origin'), page);
  assert.equal(good.headers.get('access-control-allow-credentials'), 'true');
  assert.match(good.headers.get('access-control-allow-methods'), /POST.*DELETE/);
  assert.match(good.headers.get('access-control-allow-headers'), /Authorization.*Content-Type/);
  assert.match(good.headers.get('vary'), /Origin/);
  for (const origin of [stranger, 'null', `${page}.evil.example`, 'https://localhost']) {
    const bad = await preflight(origin, 'POST', 'content-type');
    assert.deepEqual([bad.status, bad.headers.get('access-control-allow-origin')], [403, null], origin);
  }
});
