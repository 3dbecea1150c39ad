// The tests of every app with the lines and settings of its page in docs/apps: who the app thinks
// its visitor is, in Chromium and for programs, and when access ends.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { Visitor, launch } from '../browser/browser.mjs';
import { PEOPLE, accounts } from '../browser/google.mjs';
import { IDENTITY_HEADERS } from '../proxies/cases.mjs';
import { tokenOf } from '../proxies/clients.mjs';
import { CLIENT_ID, HALLPASS, Stack, freePort, idToken, send, until } from '../proxies/stack.mjs';
import { Recipe, caddySite, nginxSite } from './recipe.mjs';

const AUTH = 'auth.example.com';
const { ada: ADA, grace: GRACE } = PEOPLE;
/** Some apps have large pages. */
const PATIENCE_MILLISECONDS = 60_000;
const BROWSER = [['Accept', 'text/html'], ['Sec-Fetch-Mode', 'navigate'], ['Sec-Fetch-Dest', 'document']];

const email = (person) => person.email;
export const username = (person) => person.email.replace('@', '_');
export const basic = (token) => ['Authorization', `Basic ${Buffer.from(`me:${token}`).toString('base64')}`];
export const bearer = (token) => ['Authorization', `Bearer ${token}`];

/**
 * Tests each app. An app is
 * - `page`: the name of its page, and of its host under example.com
 * - `port`: the port on the page, replaced by a free one; `paths(folder)`: other texts to replace
 * - `start({ stack, recipe, port, folder })`: starts it, and returns what `who` needs
 * - `who(ask, started)`: whom the app takes the sender of `ask(method, path, { headers, body })` for
 * - `knownAs(person)`: the name by which it should know a person; absent if the app has no users
 * - `header`: the header that it reads
 * - `open`: the page that people open; `use(page, name)`: what they see or do there
 * - `socket`: a function that runs in the browser and opens a WebSocket (see `sockets`)
 * - `alone(at)`: tests of this app alone
 */
export function cases(apps) {
  const stack = new Stack();
  const world = {};
  const proxies = ['nginx', 'caddy'].filter((proxy) => apps.some(({ page }) => new Recipe(page).has(LANGUAGE[proxy])));

  before(async () => {
    world.google = await stack.google();
    world.hallpass = await stack.hallpass(['--client-id', CLIENT_ID, '--tokeninfo-url', world.google.url,
      '--allow-domain', 'example.com', '--signin-burst', '0', '--public-url', `https://${AUTH}`,
      '--cookie-domain', 'example.com']);
    world.apps = await Promise.all(apps.map((app) => run(stack, app)));
    const ports = { hallpass: world.hallpass.port, app: await freePort() };
    world.nginx = await stack.nginx('auth-subdomain', {
      ...ports, change: (text, file) => (file === 'site.conf' ? nginxSite(text, world.apps.filter(({ nginx }) => nginx)) : text),
      main: world.apps.map(({ main }) => main).join('\n'),
    });
    if (proxies.includes('caddy')) {
      const change = (text) => caddySite(text, world.apps.filter(({ caddy }) => caddy));
      world.caddy = await stack.caddy('auth-subdomain', { ...ports, change });
    }
    world.browser = await launch(stack, {
      ...Object.fromEntries([AUTH, ...world.apps.map(({ host }) => host)].map((host) => [`${host}:443`, world.nginx.port])),
      'accounts.google.com:443': await accounts(stack, [`https://${AUTH}/auth/signin`]),
    });
    world.tokens = new Map();
    for (const person of [ADA, GRACE]) world.tokens.set(person, await newToken(person));
  });
  after(() => stack.stop());

  async function newSession(person) {
    const answer = await send(world.nginx.port, AUTH, '/auth/signin', {
      method: 'POST', body: JSON.stringify({ id_token: idToken(person) }), headers: [['Content-Type', 'application/json']],
    });
    return answer.json.session;
  }

  async function newToken(person) {
    const at = { port: world.nginx.port, layout: { auth: AUTH }, session: await newSession(person) };
    return (await tokenOf(at)).token;
  }

  /** Calls `act` while Grace is blocked. */
  async function whileBlocked(act) {
    operator('users', 'block', GRACE.email);
    try {
      await act();
    } finally {
      operator('users', 'unblock', GRACE.email);
      world.tokens.set(GRACE, await newToken(GRACE));
    }
  }

  const operator = (...command) => execFileSync(HALLPASS, [...command, '--database', world.hallpass.database], { stdio: 'pipe' });

  for (const [index, app] of apps.entries()) {
    describe(app.page, () => {
      const at = { stack, world, ADA, GRACE, operator, newToken };
      before(() => Object.assign(at, world.apps[index]));
      /** Sends requests as a program does, with these headers. */
      const program = (proxy, headers) => async (method, path, more = {}) => {
        const { port } = world[proxy];
        const answer = await send(port, at.host, path, { method, body: more.body, headers: [...headers, ...Object.entries(more.headers ?? {})] });
        return { status: answer.status, text: answer.text };
      };
      const who = (ask) => app.who(ask, at.started);
      Object.assign(at, { program, who });

      for (const proxy of proxies.filter((name) => new Recipe(app.page).has(LANGUAGE[name]))) {
        it(`is closed to strangers, whatever headers they send (${proxy})`, async () => {
          const forged = forgeries(app, GRACE).flat();
          for (const headers of [[], forged.slice(0, 40), [bearer('hp_nonsense')]]) {
            const program = await send(world[proxy].port, at.host, app.open ?? '/', { headers: [['Accept', '*/*'], ...headers] });
            assert.equal(program.status, 401);
            const browser = await send(world[proxy].port, at.host, app.open ?? '/', { headers: [...BROWSER, ...headers] });
            assert.equal(browser.status, 302);
            assert.ok(browser.headers.location.startsWith(`https://${AUTH}/auth/signin?rd=`));
          }
        });

        it(`knows the owner of a program's token, whatever headers it sends (${proxy})`, async () => {
          for (const person of [ADA, GRACE]) {
            const token = world.tokens.get(person);
            for (const credential of [basic(token), bearer(token)]) {
              assert.equal(await who(program(proxy, [credential])), app.knownAs?.(person));
            }
          }
          for (const forged of forgeries(app, GRACE)) {
            assert.equal(await who(program(proxy, [basic(world.tokens.get(ADA)), ...forged])), app.knownAs?.(ADA), forged);
          }
        });
      }

      it('knows who signs in with a browser, until they sign out or are blocked', async () => {
        const visitor = await Visitor.arrive(world.browser);
        const { page } = visitor;
        visitor.context.setDefaultTimeout(PATIENCE_MILLISECONDS);
        const place = `https://${at.host}${app.open ?? '/'}`;
        /** Sends requests from the app's own page. */
        const ask = (method, path, { headers = {}, body } = {}) => page.evaluate(async (request) => {
          const answer = await fetch(request.path, request);
          return { status: answer.status, text: await answer.text() };
        }, { method, path, headers, body });
        const enter = async (name) => {
          await page.goto(place);
          assert.equal(new URL(page.url()).host, AUTH);
          await visitor.choose(name);
          await page.waitForURL(`https://${at.host}/**`, { waitUntil: 'domcontentloaded' });
          assert.equal(await who(ask), app.knownAs?.(PEOPLE[name]));
          await app.use?.(page, app.knownAs?.(PEOPLE[name]));
        };
        const closed = async (status) => assert.equal((await ask('GET', app.open ?? '/')).status, status);

        await enter('ada');
        const own = [app.header ?? 'Remote-User'].flat();
        const forged = (method, path, more = {}) => ask(method, path,
          { ...more, headers: { ...more.headers, ...Object.fromEntries(own.map((name) => [name, app.knownAs?.(GRACE) ?? 'grace'])) } });
        assert.equal(await who(forged), app.knownAs?.(ADA));
        await page.goto(`https://${AUTH}/auth/signout`);
        await page.getByRole('button', { name: 'Sign out', exact: true }).click();
        await page.getByText('You are signed out').waitFor();
        // The same browser, with whatever the app has stored in it.
        await enter('grace');
        if (app.socket) await page.evaluate(app.socket);
        await whileBlocked(async () => {
          await closed(403);
          const refused = await send(world.nginx.port, at.host, app.open ?? '/', { headers: [basic(world.tokens.get(GRACE))] });
          assert.ok([401, 403].includes(refused.status));
          if (app.socket) await socketOutlives(page);
        });
        await visitor.context.close();
      });

      if (app.socket) {
        it('leaves an open WebSocket open when its owner is blocked, and opens no new one (caddy)', async () => {
          const browser = await launch(stack, { [`${at.host}:443`]: world.caddy.port });
          const { context, page } = await Visitor.arrive(browser);
          context.setDefaultTimeout(PATIENCE_MILLISECONDS);
          const { token } = await newSession(GRACE);
          await context.addCookies([{ name: '__Secure-hallpass', value: token, domain: '.example.com', path: '/', secure: true }]);
          await page.goto(`https://${at.host}${app.open ?? '/'}`, { waitUntil: 'domcontentloaded' });
          await page.evaluate(app.socket);
          await whileBlocked(() => socketOutlives(page));
          await browser.close();
        });
      }

      app.alone?.(at);
    });
  }
}

/** As every page with WebSockets says: an open one outlives the block, a new one is refused. */
async function socketOutlives(page) {
  assert.equal(await page.evaluate(() => window.echo()), true);
  assert.equal(await page.evaluate(() => window.reopen()), false);
  assert.equal(await page.evaluate(() => window.echo()), true);
}

const LANGUAGE = { nginx: 'nginx', caddy: 'caddyfile' };

/** Headers that claim to be that person: all that apps are known to read, in batches. */
function forgeries({ header, knownAs = email }, person) {
  const names = [...new Set([...IDENTITY_HEADERS, 'X-Forwarded-Preferred-Username', 'Remote-User', ...[header ?? []].flat()])];
  const spellings = names.flatMap((name) => [name, name.replaceAll('-', '_')]);
  const pairs = spellings.map((name) => [name, knownAs(person)]);
  return Array.from({ length: Math.ceil(pairs.length / 40) }, (_, i) => pairs.slice(40 * i, 40 * i + 40))
    .map((batch) => (header ? [...batch, ...[header].flat().map((name) => [name, knownAs(person)])] : batch));
}

/** Starts an app, and prepares the lines of its page. */
async function run(stack, app) {
  const [recipe, port] = [new Recipe(app.page), await freePort()];
  const folder = `${stack.folder}/${app.page}`;
  stack.file(`${app.page}/.keep`, '');
  const replacements = [...(app.port ? [[`127.0.0.1:${app.port}`, `127.0.0.1:${port}`]] : []), ...(app.paths?.(folder) ?? [])];
  const lines = (language) => recipe.has(language) && recipe.all(language, replacements);
  const nginx = lines('nginx');
  const settings = (language) => recipe.first(language, replacements);
  const started = await app.start({ stack, recipe, settings, port, folder });
  const main = app.main ?? '';
  return { host: `${app.page}.example.com`, recipe, port, folder, started, nginx, caddy: lines('caddyfile'), main };
}

/** Tests that the page says which version is tested. */
export function namesVersion(page, version) {
  it(`is the version that ${page}.md names`, () => assert.equal(new Recipe(page).version, version));
}

/** Waits until an app answers. */
export const answers = (port, path = '/') => () => fetch(`http://127.0.0.1:${port}${path}`, { redirect: 'manual' }).then(() => true, () => false);
export { until };
