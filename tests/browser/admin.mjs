// What the tests of the admin pages share: a server with an admin, and the admin's visits.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { CLIENT_ID, Stack, idToken } from '../proxies/stack.mjs';
import { Visitor, launch } from './browser.mjs';
import { PEOPLE, accounts } from './google.mjs';

export const ADMIN = PEOPLE.grace;

/** A separate server with these flags, whose admin is Grace. */
export function serving(flags = ['--allow-anyone']) {
  const stack = new Stack();
  const world = { stack };
  before(async () => {
    const google = await stack.google();
    world.google = google;
    const hallpass = await stack.hallpass(['--client-id', CLIENT_ID, '--tokeninfo-url', google.url, ...flags,
      '--admin-email', ADMIN.email, '--signin-burst', '0']);
    world.base = `http://localhost:${hallpass.port}`;
    world.browser = await launch(stack, { 'lh3.googleusercontent.com:443': await accounts(stack, []) });
  });
  after(() => stack.stop());

  world.signIn = (person, agent = 'curl/8.0') => fetch(`${world.base}/auth/signin`, {
    method: 'POST', headers: { 'User-Agent': agent }, body: new URLSearchParams({ idToken: idToken(person) }),
  });
  world.session = async (person, agent) => {
    const answer = await world.signIn(person, agent);
    assert.equal(answer.status, 200);
    return (await answer.json()).session.token;
  };
  world.status = async (session) =>
    (await fetch(`${world.base}/auth/check`, { headers: { Authorization: `Bearer ${session}` } })).status;
  /** A visit by an admin that begins at that path. */
  world.visit = async (path, act, options) => {
    const visitor = await Visitor.arrive(world.browser, options);
    const value = await world.session(ADMIN, 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0');
    await visitor.context.addCookies([{ name: 'hallpass', value, url: world.base, httpOnly: true, sameSite: 'Lax' }]);
    await visitor.page.goto(world.base + path);
    await act(visitor, visitor.page);
    await visitor.leave();
  };
  return world;
}

/** Clicks a button and waits until the next page has loaded. */
export const done = (page, code) => page.waitForURL(`**?done=${code}`, { waitUntil: 'load' });
export const fold = (page, name) => page.locator('summary', { hasText: name });

/** Presses Tab until the focused element matches, which must show the focus. */
export async function tabTo(page, matches) {
  for (let i = 0; i < 30; i += 1) {
    await page.keyboard.press('Tab');
    if (!await page.evaluate(matches)) continue;
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, 'none');
    return;
  }
  assert.fail('the keyboard does not get there');
}
