// The pages in German, Japanese and Arabic, with long words, wide characters and from right to left.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { Stack } from '../proxies/stack.mjs';
import { Visitor, launch } from './browser.mjs';

const stack = new Stack();
let browser, base;

before(async () => {
  const hallpass = await stack.hallpass([], 'demo');
  base = `http://localhost:${hallpass.port}`;
  browser = await launch(stack);
});
after(() => stack.stop());

for (const [locale, direction, signOut] of [
  ['de-DE', 'ltr', 'Abmelden'], ['ja-JP', 'ltr', 'ログアウト'], ['ar-EG', 'rtl', 'تسجيل الخروج'],
]) {
  it(`looks right in ${locale}`, async () => {
    const visitor = await Visitor.arrive(browser, { locale });
    const { page } = visitor;
    await page.goto(`${base}/auth/signin`);
    assert.equal(await page.evaluate(() => getComputedStyle(document.body).direction), direction);
    await visitor.look(`signin-${locale}`);
    await page.getByRole('button', { name: 'Mira Okafor' }).click();
    await page.waitForURL(`${base}/auth/account`);
    await page.locator('summary').click();
    await visitor.look(`account-${locale}`);
    await page.getByRole('button', { name: signOut, exact: true }).click();
    await page.waitForURL(`${base}/auth/signin?done=signed-out`);
    await page.getByRole('button', { name: 'Pat Outsider' }).click();
    await visitor.look(`refused-${locale}`);
    await visitor.leave();
  });
}
