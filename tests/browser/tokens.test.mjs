// Tokens and user names on the pages in Chromium: with mouse and keyboard, and without scripts.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { CLIENT_ID, Stack, idToken } from '../proxies/stack.mjs';
import { Visitor, launch } from './browser.mjs';
import { PEOPLE, accounts } from './google.mjs';

const ADMIN = PEOPLE.grace;
const FOREIGN = 'גיבוי של הנתונים (2)';

const stack = new Stack();
let browser, base;

before(async () => {
  const google = await stack.google();
  const hallpass = await stack.hallpass(['--client-id', CLIENT_ID, '--tokeninfo-url', google.url, '--allow-anyone',
    '--admin-email', ADMIN.email, '--signin-burst', '0']);
  base = `http://localhost:${hallpass.port}`;
  browser = await launch(stack, { 'lh3.googleusercontent.com:443': await accounts(stack, []) });
});
after(() => stack.stop());

async function visit(person, path, act, options) {
  const answer = await fetch(`${base}/auth/signin`, { method: 'POST', body: new URLSearchParams({ idToken: idToken(person) }) });
  assert.equal(answer.status, 200);
  const visitor = await Visitor.arrive(browser, options);
  const value = (await answer.json()).session.token;
  await visitor.context.addCookies([{ name: 'hallpass', value, url: base, httpOnly: true, sameSite: 'Lax' }]);
  await visitor.page.goto(base + path);
  await act(visitor, visitor.page);
  await visitor.leave();
}

const status = async (token) => {
  const basic = `Basic ${Buffer.from(`me:${token}`).toString('base64')}`;
  return (await fetch(`${base}/auth/check`, { headers: { Authorization: basic } })).status;
};

for (const javaScriptEnabled of [true, false]) {
  it(`creates and ends a token ${javaScriptEnabled ? 'with the keyboard' : 'without scripts'}`, async () => {
    const options = { javaScriptEnabled, ...(javaScriptEnabled ? { permissions: ['clipboard-read', 'clipboard-write'] } : {}) };
    await visit(PEOPLE.ada, '/auth/account', async (visitor, page) => {
      const fold = page.locator('summary', { hasText: 'Create a token' });
      await fold.focus();
      await page.keyboard.press('Enter');
      await page.keyboard.press('Tab');
      await page.keyboard.type(FOREIGN);
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'Your new token' }).waitFor();
      const token = await page.locator('pre').textContent();
      assert.match(token, /^hp_[\w-]{43}$/);
      assert.equal(await status(token), 200);
      assert.equal(await page.locator('.copy').isVisible(), javaScriptEnabled);
      if (javaScriptEnabled) {
        await page.getByRole('button', { name: 'Copy' }).click();
        await page.getByRole('button', { name: 'Copied' }).waitFor();
        assert.equal(await page.evaluate(() => navigator.clipboard.readText()), token);
        await visitor.look('token-created');
      }
      await page.getByRole('link', { name: 'Your account' }).click();
      await page.getByRole('heading', { name: 'Tokens for programs' }).waitFor();
      assert.ok(!(await page.content()).includes(token), 'the token is shown again');
      const end = page.getByRole('button', { name: `End the token ${FOREIGN}` });
      await end.waitFor();
      if (javaScriptEnabled) await visitor.look('account-tokens');
      await end.click();
      await end.waitFor({ state: 'detached' });
      assert.equal(await status(token), 401);
    }, options);
  });
}

it('says what is wrong without losing the page', () => visit(PEOPLE.ada, '/auth/account', async (visitor, page) => {
  await page.locator('summary', { hasText: 'Create a token' }).click();
  await visitor.look('account-create-token');
  await page.getByLabel('What is it for?').fill('   ');
  await page.getByRole('button', { name: 'Create the token' }).click();
  await page.getByRole('alert').waitFor();
  await visitor.look('account-token-refused');
}));

it('keeps a line in order whatever direction a name has', async () => {
  const person = { ...PEOPLE.long, sub: '900', email: 'rtl@gmail.com', name: 'مريم العتيبي' };
  await visit(person, '/auth/account', async (visitor, page) => {
    await page.locator('summary', { hasText: 'Create a token' }).click();
    await page.getByLabel('What is it for?').fill(FOREIGN);
    await page.getByLabel('When does it end?').selectOption('30d');
    await page.getByRole('button', { name: 'Create the token' }).click();
    await page.getByRole('link', { name: 'Your account' }).click();
    // The name ends where its own direction ends; what follows on the line stays after it.
    const right = await page.locator('li', { hasText: FOREIGN }).locator('bdi').evaluate((name) => getComputedStyle(name).unicodeBidi);
    assert.equal(right, 'isolate');
    await visitor.look('account-right-to-left');
  });
});

it('lets an admin change a user name and end a token', () => visit(ADMIN, '/auth/admin/users/900', async (visitor, page) => {
  await page.getByText('rtl_gmail.com').waitFor();
  const rename = async (name) => {
    await page.locator('summary', { hasText: 'Change the user name' }).click();
    await page.getByLabel('New user name').fill(name);
    await page.getByRole('button', { name: 'Change the name' }).click();
  };
  await page.locator('summary', { hasText: 'Change the user name' }).click();
  await visitor.look('admin-user-rename');
  await page.locator('summary', { hasText: 'Change the user name' }).click();
  await rename('Maryam');
  assert.ok(page.url().endsWith('/900'), 'the browser refuses an impossible name');
  await page.goto(`${base}/auth/admin/users/900`);
  await rename('maryam');
  await page.waitForURL('**?done=renamed', { waitUntil: 'load' });
  await page.getByText('User name: maryam').waitFor();
  await rename(ADMIN.email.replace('@', '_'));
  await page.waitForURL('**?done=taken', { waitUntil: 'load' });
  await visitor.look('admin-user-tokens');
  await page.getByRole('button', { name: `End the token ${FOREIGN}` }).click();
  await page.waitForURL('**?done=ended', { waitUntil: 'load' });
  await page.getByText('They have no tokens.').waitFor();
}));
