// `hallpass demo` in Chromium.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { Stack } from '../proxies/stack.mjs';
import { Visitor, launch } from './browser.mjs';

const PEOPLE = ['Mira Okafor', 'Jonas Lindqvist', 'Sofía Núñez', 'Tariq Haddad'];
const OUTSIDER = ['Pat Outsider', 'pat.outsider@example.org'];

const stack = new Stack();
let browser, base;

before(async () => {
  const hallpass = await stack.hallpass([], 'demo');
  base = `http://localhost:${hallpass.port}`;
  browser = await launch(stack);
});
after(() => stack.stop());

it('signs in as each of the invented people', async () => {
  for (const javaScriptEnabled of [true, false]) {
    for (const person of PEOPLE) {
      const visitor = await Visitor.arrive(browser, { javaScriptEnabled });
      const { page } = visitor;
      await page.goto(`${base}/auth/signin`);
      await page.getByRole('button', { name: person }).click();
      await page.waitForURL(`${base}/auth/account`);
      assert.equal(await visitor.heading(), person);
      await page.getByRole('button', { name: 'Sign out', exact: true }).click();
      await page.waitForURL(`${base}/auth/signin?done=signed-out`);
      assert.equal(await page.locator('.copy').first().isVisible(), javaScriptEnabled);
      await visitor.leave();
    }
  }
});

it('looks right and says that it is a demonstration', async () => {
  const visitor = await Visitor.arrive(browser);
  const { page } = visitor;
  await page.goto(`${base}/`);
  await page.waitForURL(`${base}/auth/signin`);
  assert.ok(await page.getByText('This is a demonstration').isVisible());
  await visitor.look('demo-signin');
  await page.getByRole('button', { name: PEOPLE[2] }).click();
  await page.waitForURL(`${base}/auth/account`);
  await visitor.look('demo-account');
  await visitor.leave();
});

it('refuses the outsider and then lets another person in', async () => {
  const visitor = await Visitor.arrive(browser);
  const { page } = visitor;
  await page.goto(`${base}/auth/signin`);
  const answer = page.waitForResponse(`${base}/auth/signin`);
  await page.getByRole('button', { name: OUTSIDER[0] }).click();
  assert.equal((await answer).status(), 403);
  await page.getByText(OUTSIDER[1]).waitFor();
  await visitor.look('demo-outsider');
  await page.getByRole('link', { name: 'Use another account' }).click();
  await page.getByRole('button', { name: PEOPLE[0] }).click();
  await page.waitForURL(`${base}/auth/account`);
  await visitor.leave();
});

it('copies the token and the commands', async () => {
  const visitor = await Visitor.arrive(browser, { permissions: ['clipboard-read', 'clipboard-write'] });
  const { page } = visitor;
  await page.goto(`${base}/auth/signin`);
  const lines = await page.locator('pre').allTextContents();
  const [token] = lines[0].match(/(?<=id_token=)\S+/);
  const expected = [token, ...lines];
  for (const [index, button] of (await page.locator('.copy').all()).entries()) {
    await button.click();
    await page.waitForFunction((at) => document.querySelectorAll('.copy')[at].textContent === 'Copied', index);
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), expected[index]);
  }
  await visitor.look('demo-copied');
  await visitor.leave();
});

it('keeps a #fragment', async () => {
  const visitor = await Visitor.arrive(browser);
  const { page } = visitor;
  await page.goto(`${base}/auth/signin?rd=%2Fauth%2Faccount%3Fa%3D1#part`);
  await page.getByRole('button', { name: PEOPLE[0] }).click();
  await page.waitForURL(`${base}/auth/account?a=1#part`);
  await visitor.leave();
});
