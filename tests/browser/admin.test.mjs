// The admin pages in Chromium: with mouse and keyboard, without scripts, with no users and with many.

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { ADMIN, done, fold, serving, tabTo } from './admin.mjs';
import { Visitor } from './browser.mjs';
import { PEOPLE } from './google.mjs';

const CROWD = 120;

describe('with no users but the admin', () => {
  const world = serving();

  it('looks right', () => world.visit('/auth/admin', async (visitor, page) => {
    assert.equal(await visitor.heading(), 'Overview');
    assert.ok(await page.getByText('Nobody was refused.').isVisible());
    await visitor.look('admin-empty');
    await page.goto(`${world.base}/auth/admin/users?q=nobody`);
    await page.getByText('No user matches.').waitFor();
    await visitor.look('admin-nobody-found');
  }));
});

describe('with many users', () => {
  const world = serving();
  before(async () => {
    const crowd = (number) => ({ sub: `9${number}`, email: `crowd.${number}@gmail.com`, name: `Crowd Person ${number}` });
    for (let number = 0; number < CROWD; number += 1) await world.session(crowd(number));
    for (const person of ['long', 'script', 'ada']) await world.session(PEOPLE[person]);
    for (const aud of ['other', 'other']) await world.signIn({ ...PEOPLE.pat, aud });
    world.google.down = true;
    await world.signIn(PEOPLE.pat);
    world.google.down = false;
  });

  it('shows an overview', () => world.visit('/auth/admin', async (visitor, page) => {
    await page.getByText('Latest refusals').waitFor();
    assert.equal(await page.locator('svg[role=img] g').count(), 30);
    assert.ok(await page.getByText('issued for another app').first().isVisible());
    assert.ok(await page.getByText('status 503').isVisible());
    await visitor.look('admin');
    await page.getByText('The same as a table').click();
    assert.equal(await page.getByRole('row').count(), 31);
    await visitor.look('admin-table');
    const bars = page.locator('rect.signins');
    const heights = await bars.evaluateAll((all) => all.map((bar) => bar.getBoundingClientRect().height));
    assert.ok(heights.at(-1) > 50 && heights.at(-2) === 0, `${heights}`);
  }));

  it('pages through the users and searches them', () => world.visit('/auth/account', async (visitor, page) => {
    await page.getByRole('link', { name: 'Admin page' }).click();
    await page.getByRole('link', { name: 'Users' }).click();
    await page.waitForURL(`${world.base}/auth/admin/users`);
    await visitor.look('admin-users');
    const seen = new Set();
    for (;;) {
      for (const link of await page.locator('.rows a').evaluateAll((all) => all.map((a) => a.href))) seen.add(link);
      const next = page.getByRole('link', { name: 'Next page' });
      if (await next.count() === 0) break;
      const before = page.url();
      await next.click();
      await page.waitForURL((url) => url.href !== before, { waitUntil: 'load' });
    }
    assert.equal(seen.size, CROWD + 4);
    await page.getByLabel('Search').fill('crowd 77@');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/auth/admin/users?q=**', { waitUntil: 'load' });
    assert.equal(await page.locator('.rows > li').count(), 1);
    await page.getByRole('link', { name: 'Crowd Person 77' }).click();
    await page.waitForURL('**/auth/admin/users/977');
    assert.equal(await visitor.heading(), 'Crowd Person 77');
  }));

  it('shows long names and escapes claims', async () => {
    for (const person of ['long', 'script']) {
      await world.visit(`/auth/admin/users/${PEOPLE[person].sub}`, async (visitor, page) => {
        assert.equal(await visitor.heading(), PEOPLE[person].name);
        for (const summary of await page.locator('.controls summary').all()) await summary.click();
        await visitor.look(`admin-user-${person}`);
        assert.equal(await page.locator('script, main b, img[src="x"]').count(), 0);
      });
    }
  });

  for (const javaScriptEnabled of [true, false]) {
    it(`blocks, unblocks and ends sessions ${javaScriptEnabled ? 'with' : 'without'} scripts`, async () => {
      const iphone = 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Safari/604.1';
      const [phone, shell] = [await world.session(PEOPLE.ada, iphone), await world.session(PEOPLE.ada)];
      await world.visit(`/auth/admin/users/${PEOPLE.ada.sub}`, async (visitor, page) => {
        const block = page.getByRole('button', { name: `Block ${PEOPLE.ada.email}` });
        assert.ok(!await block.isVisible(), 'nobody is blocked by one slip');
        await fold(page, 'Block').click();
        await block.click();
        await done(page, 'blocked');
        assert.ok(await page.getByRole('status').isVisible());
        assert.equal(await world.status(phone), 403);
        if (javaScriptEnabled) await visitor.look('admin-user-blocked');
        await page.getByRole('button', { name: /^Unblock/ }).click();
        await done(page, 'unblocked');
        assert.equal(await world.status(phone), 200);
        await page.getByRole('button', { name: /^End the session of Safari on iPhone/ }).first().click();
        await done(page, 'ended');
        assert.deepEqual([await world.status(phone), await world.status(shell)], [401, 200]);
        await fold(page, 'End all sessions').click();
        await page.getByRole('button', { name: 'End all their sessions' }).click();
        await done(page, 'ended-all');
        assert.equal(await world.status(shell), 401);
        assert.ok(await page.getByText(`by ${ADMIN.email}`).first().isVisible());
      }, { javaScriptEnabled });
    });
  }

  it('works with the keyboard alone and shows the focus', async () => {
    const session = await world.session(PEOPLE.ada);
    await world.visit(`/auth/admin/users/${PEOPLE.ada.sub}`, async (visitor, page) => {
      await tabTo(page, () => document.activeElement.textContent === 'Block');
      await page.keyboard.press('Enter');
      await tabTo(page, () => document.activeElement.matches('button[value=block]'));
      await page.keyboard.press('Enter');
      await done(page, 'blocked');
      assert.equal(await world.status(session), 403);
      await tabTo(page, () => document.activeElement.matches('button[value=unblock]'));
      await page.keyboard.press('Enter');
      await done(page, 'unblocked');
      assert.equal(await world.status(session), 200);
    });
  });

  it('does not let admins block themselves or others see the pages', async () => {
    await world.visit(`/auth/admin/users/${ADMIN.sub}`, async (visitor, page) => {
      assert.equal(await fold(page, 'Block').count(), 0);
      await visitor.look('admin-oneself');
    });
    const visitor = await Visitor.arrive(world.browser);
    const value = await world.session(PEOPLE.ada);
    await visitor.context.addCookies([{ name: 'hallpass', value, url: world.base }]);
    assert.equal((await visitor.page.goto(`${world.base}/auth/admin`)).status(), 403);
    assert.ok(await visitor.page.getByText(PEOPLE.ada.email).isVisible());
    await visitor.look('admin-not');
    await visitor.leave();
  });
});
