// The pages in Chromium, behind nginx and Caddy configured with the files of deploy/, with a stand-in for Google.
// Leaves screenshots in target/screenshots/.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { CLIENT_ID, Stack, idToken, send } from '../proxies/stack.mjs';
import { Visitor, launch } from './browser.mjs';
import { PEOPLE, accounts } from './google.mjs';

const DEEP = '/deep/link%20here?a=1&b=2&u=https://x/';
const LAYOUTS = {
  'same-host': {
    proxy: 'nginx', auth: 'https://app.example.com', app: 'https://app.example.com',
    listed: 'https://app.example.com/admin/x',
    cookie: '__Host-hallpass', flags: ['--public-url', 'https://app.example.com'], notOnTheList: 'script',
  },
  'auth-subdomain': {
    proxy: 'caddy', auth: 'https://auth.example.com', app: 'https://app.example.com',
    listed: 'https://staff.example.com/x?y=1&z=2',
    cookie: '__Secure-hallpass', notOnTheList: 'pat',
    flags: ['--public-url', 'https://auth.example.com', '--cookie-domain', 'example.com'],
  },
};

for (const [name, layout] of Object.entries(LAYOUTS)) {
  describe(name, () => {
    const stack = new Stack();
    const { auth, app, cookie } = layout;
    let google, proxy, browser;

    before(async () => {
      google = await stack.google();
      const [echo, chooser] = [await stack.app(), await accounts(stack, [`${auth}/auth/signin`])];
      const allowed = name === 'same-host' ? ['--allow-domain', 'example.com']
        : ['--allow-domain', 'example.com', '--allow-email', 'pat.outsider@gmail.com'];
      const hallpass = await stack.hallpass(['--client-id', CLIENT_ID, '--tokeninfo-url', google.url, ...layout.flags,
        ...allowed, '--admin-email', PEOPLE.grace.email, '--signin-burst', '0', '--site-name', 'The Orchard']);
      proxy = await stack[layout.proxy](name, { hallpass: hallpass.port, app: echo.port });
      browser = await launch(stack, {
        'app.example.com:443': proxy.port, 'auth.example.com:443': proxy.port, 'staff.example.com:443': proxy.port,
        'accounts.google.com:443': chooser, 'lh3.googleusercontent.com:443': chooser,
      });
    });
    after(() => stack.stop());

    /** A visit, which must produce no complaints. */
    async function visit(act, options) {
      const visitor = await Visitor.arrive(browser, options);
      await act(visitor, visitor.page);
      await visitor.leave();
    }

    /** Signs in elsewhere, as a program does. */
    async function elsewhere(person, agent = 'curl/8.0') {
      const answer = await send(proxy.port, new URL(auth).host, '/auth/signin', {
        method: 'POST', body: new URLSearchParams({ idToken: idToken(PEOPLE[person]) }).toString(),
        headers: [['Content-Type', 'application/x-www-form-urlencoded'], ['User-Agent', agent]],
      });
      assert.equal(answer.status, 200, answer.text);
      return answer.json.session;
    }
    const alive = async (session) => {
      const headers = [['Authorization', `Bearer ${session.token}`]];
      return (await send(proxy.port, new URL(auth).host, '/auth/me', { headers })).status === 200;
    };
    const cookieFor = (session) => ({
      name: cookie, value: session.token, secure: true, httpOnly: true, sameSite: 'Lax',
      ...(name === 'same-host' ? { url: auth } : { domain: '.example.com', path: '/' }),
    });
    /** The pages of Hallpass's own host, which are the same in both layouts. */
    const look = (visitor, title) => (name === 'same-host' ? visitor.look(title) : undefined);
    const theApp = async (page) => JSON.parse(await page.locator('body').textContent());

    it('leads from the app through Google’s button back to the same address', () => visit(async (visitor, page) => {
      await page.goto(app + DEEP);
      assert.equal(page.url().split('?')[0], `${auth}/auth/signin`);
      await page.frameLocator('iframe').getByRole('button').waitFor();
      assert.ok(await page.getByText('to continue to app.example.com').isVisible());
      await look(visitor, 'signin');
      await visitor.choose('ada');
      await page.waitForURL(app + DEEP);
      const seen = await theApp(page);
      assert.equal(seen.url, DEEP);
      assert.ok(seen.headers.some(([n, v]) => n.toLowerCase() === 'remote-email' && v === 'ada@example.com'));
      const [session] = (await visitor.context.cookies(auth)).filter((c) => c.name === cookie);
      assert.deepEqual([session.secure, session.httpOnly, session.sameSite], [true, true, 'Lax']);
      await page.goto(`${auth}/auth/signin?rd=${encodeURIComponent(app + DEEP)}`);
      await look(visitor, 'signin-again');
      await page.getByRole('link', { name: 'Continue' }).click();
      await page.waitForURL(app + DEEP);
    }));

    it('leads to the account page without a return address, and signs out', () => visit(async (visitor, page) => {
      await page.goto(`${auth}/auth/account`);
      await page.waitForURL(`${auth}/auth/signin`);
      await visitor.choose('ada');
      await page.waitForURL(`${auth}/auth/account`);
      assert.equal(await visitor.heading(), 'Ada Løvelace');
      assert.ok(await page.locator('.profile img').evaluate((image) => image.complete && image.naturalWidth > 0));
      const value = (await visitor.context.cookies(auth)).find((c) => c.name === cookie).value;
      await page.getByRole('button', { name: 'Sign out', exact: true }).click();
      await page.waitForURL(`${auth}/auth/signin?done=signed-out`);
      assert.ok(await page.getByText('You are signed out.').isVisible());
      await look(visitor, 'signed-out');
      assert.ok(!(await visitor.context.cookies(auth)).some((c) => c.name === cookie));
      assert.ok(!await alive({ token: value }), 'and the session itself has ended');
      await page.goto(app + DEEP);
      assert.equal(page.url().split('?')[0], `${auth}/auth/signin`);
    }));

    it('keeps a #fragment through sign-in and afterwards', () => visit(async (visitor, page) => {
      await page.goto(`${app}${DEEP}#part-2`);
      await visitor.choose('ada');
      await page.waitForURL(`${app}${DEEP}#part-2`);
      const signin = `${auth}/auth/signin?rd=${encodeURIComponent(app + DEEP)}`;
      await page.goto(`${signin}#part-3`);
      await page.getByRole('link', { name: 'Continue' }).click();
      await page.waitForURL(`${app}${DEEP}#part-3`);
      await page.goto(`${signin}${encodeURIComponent('#own')}#other`);
      await page.getByRole('link', { name: 'Continue' }).click();
      await page.waitForURL(`${app}${DEEP}#own`);
    }));

    it('signs out from a link in the app and comes back to it', () => visit(async (visitor, page) => {
      await visitor.context.addCookies([cookieFor(await elsewhere('ada'))]);
      const link = `${auth}/auth/signout?rd=${encodeURIComponent(app + DEEP)}`;
      await page.goto(link);
      await look(visitor, 'sign-out');
      await page.getByRole('link', { name: 'Stay signed in' }).click();
      await page.waitForURL(app + DEEP);
      await page.goto(link);
      await page.getByRole('button', { name: 'Sign out', exact: true }).click();
      await page.getByText('You are signed out.').waitFor();
      await visitor.choose('ada');
      await page.waitForURL(app + DEEP);
      await page.context().clearCookies();
      await page.goto(link);
      await page.getByText('You are signed out.').waitFor();
    }));

    it('explains what to do only if Google’s button is blocked', async () => {
      await visit(async (visitor, page) => {
        await page.goto(`${auth}/auth/signin`);
        await page.frameLocator('iframe').getByRole('button').waitFor();
        await page.locator('.no-button').evaluate((hint) => hint.getAnimations().forEach((wait) => wait.finish()));
        assert.ok(!await page.getByText('has not appeared').isVisible());
      });
      const visitor = await Visitor.arrive(browser);
      await visitor.context.route('https://accounts.google.com/**', (route) => route.abort());
      await visitor.page.goto(`${auth}/auth/signin`);
      await visitor.page.getByText('has not appeared').waitFor({ state: 'visible' });
      await look(visitor, 'blocked');
      visitor.complaints = visitor.complaints.filter((text) => !text.includes('ERR_FAILED'));
      await visitor.leave();
    });

    it('ends one other session, or all others', () => visit(async (visitor, page) => {
      await visitor.context.addCookies([cookieFor(await elsewhere('grace', 'Mozilla/5.0 (Windows NT) Firefox/120'))]);
      const iphone = 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Safari/604.1';
      const others = [];
      for (const agent of ['curl/8.0', 'okhttp/4.12', iphone]) others.push(await elsewhere('grace', agent));
      await page.goto(`${auth}/auth/account`);
      assert.equal(await page.locator('ul.rows > li').count(), 4);
      await look(visitor, 'account');
      await page.locator('li', { hasText: 'curl' }).getByRole('button', { name: /^End/ }).click();
      await page.waitForURL(`${auth}/auth/account`);
      assert.equal(await page.locator('ul.rows > li').count(), 3);
      assert.deepEqual(await Promise.all(others.map(alive)), [false, true, true]);
      await page.getByRole('button', { name: 'End all others' }).click();
      await page.getByRole('button', { name: 'End all others' }).waitFor({ state: 'detached' });
      assert.equal(await page.locator('ul.rows > li').count(), 1);
      assert.deepEqual(await Promise.all(others.map(alive)), [false, false, false]);
      assert.equal(await visitor.heading(), 'Grace Hopper');
      await look(visitor, 'account-one-session');
    }));

    it('signs out everywhere', () => visit(async (visitor, page) => {
      const sessions = [await elsewhere('ada'), await elsewhere('ada')];
      await visitor.context.addCookies([cookieFor(sessions[0])]);
      await page.goto(`${auth}/auth/account`);
      await page.getByRole('button', { name: 'Sign out everywhere' }).click();
      await page.waitForURL(`${auth}/auth/signin?done=signed-out`);
      assert.deepEqual(await Promise.all(sessions.map(alive)), [false, false]);
    }));

    if (name === 'same-host') {
      it('names a refused account and offers another, which works', () => visit(async (visitor, page) => {
        await page.goto(app + DEEP);
        await visitor.choose('pat');
        await page.getByText('pat.outsider@gmail.com').waitFor();
        assert.equal(page.url(), `${auth}/auth/signin`);
        assert.deepEqual((await visitor.context.cookies(auth)).filter((c) => c.name === cookie), []);
        await look(visitor, 'wrong-account');
        await page.getByRole('link', { name: 'Use another account' }).click();
        await page.frameLocator('iframe').getByRole('button').waitFor();
        assert.equal(await page.evaluate(() => window.autoSelectDisabled), true);
        await visitor.choose('ada');
        await page.waitForURL((url) => !url.pathname.endsWith('signin') && url.host !== 'accounts.google.com');
        assert.equal(page.url(), app + DEEP);
      }));
    }

    it('shows the 403 of an app’s allow-list and continues with another account', () => visit(async (visitor, page) => {
      await visitor.context.addCookies([cookieFor(await elsewhere(layout.notOnTheList))]);
      const answer = await page.goto(layout.listed);
      assert.equal(answer.status(), 403);
      assert.ok(await page.getByText(PEOPLE[layout.notOnTheList].email).isVisible());
      await visitor.look(`not-on-the-list-${name}`);
      const margin = await page.locator('main').evaluate((main) => getComputedStyle(main).paddingLeft);
      assert.notEqual(margin, '0px', 'the stylesheet is there');
      await page.getByRole('link', { name: 'Use another account' }).click();
      await visitor.choose('ada');
      await page.waitForURL(layout.listed);
      assert.ok((await theApp(page)).app);
      await page.goBack();
    }));

    it('leads from the app’s 403 page to the account page', () => visit(async (visitor, page) => {
      await visitor.context.addCookies([cookieFor(await elsewhere(layout.notOnTheList))]);
      await page.goto(layout.listed);
      await page.getByRole('link', { name: 'Your account' }).click();
      await page.waitForURL(`${auth}/auth/account`);
      await page.getByRole('button', { name: 'Sign out', exact: true }).waitFor();
    }));

    it('refuses Google’s post without its cookie', async () => {
      for (const other of [undefined, 'other']) {
        await visit(async (visitor, page) => {
          await page.goto(`${auth}/auth/signin?rd=${encodeURIComponent(`${auth}/deep?a=1`)}`);
          await page.frameLocator('iframe').getByRole('button').click();
          await page.waitForURL('https://accounts.google.com/**');
          await visitor.context.clearCookies({ name: 'g_csrf_token' });
          if (other) await visitor.context.addCookies([{ name: 'g_csrf_token', value: other, url: auth }]);
          const answer = page.waitForResponse(`${auth}/auth/signin`);
          await page.locator('#ada').click();
          assert.equal((await answer).status(), 400);
          const again = await page.getByRole('link', { name: 'Go to sign-in' }).getAttribute('href');
          assert.equal(again, `${auth}/auth/signin?rd=${encodeURIComponent(`${auth}/deep?a=1`)}`);
          assert.deepEqual((await visitor.context.cookies(auth)).filter((c) => c.name === cookie), []);
          await look(visitor, 'no-csrf-token');
        });
      }
    });

    it('leads an admin through sign-in to the admin page, whose buttons affect the app', () => visit(async (visitor, page) => {
      const session = await elsewhere('ada');
      await page.goto(`${auth}/auth/admin`);
      await page.waitForURL(`${auth}/auth/signin?**`);
      await visitor.choose('grace');
      await page.waitForURL(`${auth}/auth/admin`);
      await page.getByRole('link', { name: PEOPLE.ada.name }).first().click();
      await page.waitForURL(`${auth}/auth/admin/users/${PEOPLE.ada.sub}`);
      await page.getByText('Block', { exact: true }).click();
      await page.getByRole('button', { name: /^Block/ }).click();
      await page.waitForURL('**?done=blocked');
      assert.ok(!await alive(session));
      await page.getByRole('button', { name: /^Unblock/ }).click();
      await page.waitForURL('**?done=unblocked');
      assert.ok(await alive(session));
    }));

    it('escapes claims', () => visit(async (visitor, page) => {
      await page.goto(`${auth}/auth/signin`);
      await visitor.choose('script');
      await page.waitForURL(`${auth}/auth/account`);
      assert.equal(await visitor.heading(), PEOPLE.script.name);
      assert.ok(await page.getByText(PEOPLE.script.email).isVisible());
      assert.equal(await page.locator('script, main b, img[src="x"]').count(), 0);
      await look(visitor, 'script');
      await page.goto(`${auth}/auth/signin`);
      assert.ok(await page.getByText(PEOPLE.script.email).isVisible());
    }));

    it('fits long names', () => visit(async (visitor, page) => {
      await visitor.context.addCookies([cookieFor(await elsewhere('long'))]);
      await page.goto(`${auth}/auth/account`);
      await look(visitor, 'long');
      await page.goto(`${auth}/auth/signin`);
      await look(visitor, 'signin-long');
    }));

    it('works without JavaScript, as far as Google’s button allows', () => visit(async (visitor, page) => {
      await page.goto(`${auth}/auth/signin`);
      assert.match(await page.locator('noscript').innerText(), /needs JavaScript/);
      assert.equal(await page.locator('.no-button').evaluate((hint) => getComputedStyle(hint).display), 'none');
      const other = await elsewhere('grace');
      await visitor.context.addCookies([cookieFor(await elsewhere('grace'))]);
      await page.goto(`${auth}/auth/account`);
      const ended = page.waitForResponse((response) => response.status() === 303);
      await page.locator('li', { hasText: 'curl' }).getByRole('button', { name: /^End/ }).first().click();
      await ended;
      await page.waitForLoadState();
      assert.ok(!await alive(other));
      const third = await elsewhere('grace');
      await page.goto(`${auth}/auth/account`);
      await page.getByRole('button', { name: 'End all others' }).click();
      assert.ok(!await alive(third));
      await page.getByRole('button', { name: 'Sign out', exact: true }).click();
      await page.waitForURL(`${auth}/auth/signin?done=signed-out`);
    }, { javaScriptEnabled: false }));

    it('works with the keyboard alone and shows the focus', () => visit(async (visitor, page) => {
      const outlined = () => page.evaluate(() => {
        const style = getComputedStyle(document.activeElement);
        return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
      });
      const tabTo = async (matches) => {
        for (let i = 0; i < 20; i += 1) {
          await page.keyboard.press('Tab');
          if (await page.evaluate(matches)) return;
        }
        assert.fail('the keyboard does not get there');
      };
      await elsewhere('grace');
      await page.goto(`${auth}/auth/account`);
      await page.frameLocator('iframe').getByRole('button').waitFor();
      await tabTo(() => document.activeElement.tagName === 'IFRAME');
      await page.keyboard.press('Enter');
      await page.waitForURL('https://accounts.google.com/**');
      await tabTo(() => document.activeElement.id === 'grace');
      await page.keyboard.press('Enter');
      await page.waitForURL(`${auth}/auth/account`);
      const before = await page.locator('ul.rows > li').count();
      await tabTo(() => document.activeElement.matches('ul.rows button'));
      assert.ok(await outlined());
      await page.keyboard.press('Enter');
      await page.waitForFunction((count) => document.querySelectorAll('ul.rows > li').length === count - 1, before);
      await tabTo(() => document.activeElement.textContent === 'Sign out');
      assert.ok(await outlined());
      await page.keyboard.press('Enter');
      await page.waitForURL(`${auth}/auth/signin?done=signed-out`);
    }));

    it('has error pages', () => visit(async (visitor, page) => {
      const wrong = async (target, status, title) => {
        const answer = await page.goto(auth + target);
        assert.equal(answer.status(), status);
        await look(visitor, title);
      };
      await wrong('/auth/nothing', 404, 'not-found');
      await wrong('/auth/me', 401, 'not-signed-in');
      google.down = true;
      try {
        await page.goto(`${auth}/auth/signin`);
        await visitor.choose('ada');
        await page.getByRole('heading').waitFor();
        await page.waitForURL(`${auth}/auth/signin`);
        await look(visitor, 'google-down');
      } finally {
        google.down = false;
      }
    }));
  });
}
