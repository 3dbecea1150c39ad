// Chromium, and the checks on every page: Content Security Policy, accessibility, layout.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { ROOT } from '../proxies/stack.mjs';

const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SCREENSHOTS = path.join(ROOT, 'target/screenshots');
const VARIANTS = [
  ['light', { width: 1280, height: 800 }],
  ['dark', { width: 1280, height: 800 }],
  ['narrow', { width: 320, height: 640 }],
];
const PATIENCE_MILLISECONDS = 5_000;

/** A browser that can reach only localhost and `hosts`, which maps `host:port` to a port on loopback. */
export async function launch(stack, hosts = {}) {
  const rules = Object.entries(hosts).map(([host, port]) => `MAP ${host} 127.0.0.1:${port}`);
  rules.push('MAP * ~NOTFOUND', 'EXCLUDE localhost', 'EXCLUDE 127.0.0.1');
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--ignore-certificate-errors',
      `--host-resolver-rules=${rules.join(', ')}`],
  });
  stack.onStop(() => browser.close());
  return browser;
}

/** A person with a separate browser window and cookies. */
export class Visitor {
  /** Policy violations, script errors and dialogs on the pages. */
  complaints = [];

  static async arrive(browser, options = {}) {
    const visitor = new Visitor();
    visitor.context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
    visitor.context.setDefaultTimeout(PATIENCE_MILLISECONDS);
    await visitor.context.addInitScript(() => document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`violates the policy: ${event.violatedDirective} ${event.blockedURI} on ${event.documentURI}`);
    }));
    visitor.context.on('console', (message) => {
      const failedStatus = message.text().startsWith('Failed to load resource: the server responded');
      if (['error', 'warning'].includes(message.type()) && !failedStatus) visitor.complaints.push(message.text());
    });
    visitor.context.on('weberror', (error) => visitor.complaints.push(String(error.error())));
    visitor.context.on('dialog', (dialog) => {
      visitor.complaints.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    visitor.page = await visitor.context.newPage();
    return visitor;
  }

  async leave() {
    await this.context.close();
    assert.deepEqual(this.complaints, []);
  }

  /** Clicks Google's button and chooses an account. */
  async choose(person) {
    await this.page.frameLocator('iframe[title^="Sign in with Google"]').getByRole('button').click();
    await this.page.waitForURL('https://accounts.google.com/gsi/select?**');
    await this.page.locator(`#${person}`).click();
  }

  heading() {
    return this.page.locator('h1').textContent();
  }

  /** Takes screenshots, and checks that the page fits a narrow window and that axe-core finds nothing serious. */
  async look(name) {
    const { page } = this;
    fs.mkdirSync(SCREENSHOTS, { recursive: true });
    for (const [variant, size] of VARIANTS) {
      await page.emulateMedia({ colorScheme: variant === 'dark' ? 'dark' : 'light' });
      await page.setViewportSize(size);
      await page.screenshot({ path: path.join(SCREENSHOTS, `${name}-${variant}.png`), fullPage: true });
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= size.width, `${name} is ${width} wide in a window of ${size.width}`);
      await page.evaluate(AXE);
      const options = { resultTypes: ['violations'], iframes: false, preload: false };
      const { violations } = await page.evaluate((given) => window.axe.run(given), options);
      const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
      const told = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
      assert.deepEqual(told, [], `${name} ${variant}`);
      const others = violations.filter((v) => !serious.includes(v)).map((v) => v.id);
      if (others.length > 0) console.error(`# ${name} ${variant}: minor findings of axe-core: ${others.join(', ')}`);
    }
    await page.setViewportSize(VARIANTS[0][1]);
    await page.emulateMedia({ colorScheme: 'light' });
  }
}
