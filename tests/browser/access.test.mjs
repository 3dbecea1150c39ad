// The page of who may enter in Chromium: with mouse and keyboard, without scripts, and what a refused person sees.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ADMIN, done, fold, serving, tabTo } from './admin.mjs';
import { Visitor } from './browser.mjs';
import { PEOPLE } from './google.mjs';

const HEBREW = { sub: '301', email: 'noa@gmail.com', email_verified: true, name: '\u05e0\u05d5\u05e2\u05d4' };

describe('who may enter', () => {
  const world = serving([]);
  const signsIn = async (person) => (await world.signIn(person)).status;

  for (const javaScriptEnabled of [true, false]) {
    it(`is added and removed ${javaScriptEnabled ? 'with' : 'without'} scripts`, async () => {
      assert.equal(await signsIn(PEOPLE.pat), 403);
      await world.visit('/auth/admin', async (visitor, page) => {
        await page.getByRole('link', { name: 'Access' }).click();
        assert.equal(await visitor.heading(), 'Access');
        if (javaScriptEnabled) await visitor.look('access-empty');
        await page.getByLabel('E-mail address').fill(PEOPLE.pat.email);
        await page.getByLabel('Note').first().fill('the new colleague');
        await page.getByRole('button', { name: 'Let in', exact: true }).click();
        await done(page, 'added');
        assert.ok(await page.getByRole('status').isVisible());
        assert.equal(await signsIn(PEOPLE.pat), 200);
        await fold(page, 'Google Workspace').click();
        await page.getByLabel('Domain').fill('example.com');
        await page.getByRole('button', { name: 'Let in every account' }).click();
        await done(page, 'added');
        assert.equal(await signsIn(PEOPLE.ada), 200);
        assert.ok(await page.getByText('the new colleague').isVisible());
        if (javaScriptEnabled) await visitor.look('access');
        for (const [name, person] of [['example.com', PEOPLE.ada], [PEOPLE.pat.email, PEOPLE.pat]]) {
          await page.getByRole('button', { name: `Remove ${name}` }).click();
          await done(page, 'removed');
          assert.equal(await signsIn(person), 403);
        }
      }, { javaScriptEnabled });
    });
  }

  it('explains a wrong entry and keeps it', () => world.visit('/auth/admin/allowed', async (visitor, page) => {
    await page.getByLabel('E-mail address').fill('eve@outlook.com');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').waitFor();
    assert.equal(await page.getByLabel('E-mail address').inputValue(), 'eve@outlook.com');
    await visitor.look('access-wrong');
  }));

  it('lets in a refused person from the overview, with the keyboard', async () => {
    for (const person of [HEBREW, PEOPLE.long, PEOPLE.script]) {
      assert.equal(await signsIn({ ...person, hd: undefined }), 403);
    }
    await world.visit('/auth/admin', async (visitor, page) => {
      await visitor.look('access-refusals');
      await tabTo(page, () => document.activeElement.getAttribute('aria-label') === 'Let in noa@gmail.com');
      await page.keyboard.press('Enter');
      await done(page, 'added');
      assert.equal(await signsIn(HEBREW), 200);
      assert.equal(await page.locator('script, main b, img[src="x"]').count(), 0);
      await visitor.look('access-after');
      await page.reload();
      await page.getByRole('link', { name: HEBREW.email }).click();
      assert.equal(await visitor.heading(), HEBREW.name);
      await visitor.look('access-user');
    });
  });

  it('tells a refused person whom to ask', async () => {
    const visitor = await Visitor.arrive(world.browser);
    const { page } = visitor;
    const value = await world.session(HEBREW);
    await world.visit('/auth/admin/allowed', async (_, admin) => {
      await admin.getByRole('button', { name: `Remove ${HEBREW.email}` }).click();
      await done(admin, 'removed');
    });
    await visitor.context.addCookies([{ name: 'hallpass', value, url: world.base }]);
    assert.equal((await page.goto(`${world.base}/auth/account`)).status(), 403);
    assert.ok(await page.getByText('Ask the person who runs this site').isVisible());
    assert.ok(await page.getByText(HEBREW.email).isVisible());
    assert.equal(await page.getByText(ADMIN.email).count(), 0);
    await page.getByRole('link', { name: 'Use another account' }).waitFor();
    await visitor.look('access-denied');
    await visitor.leave();
  });
});
