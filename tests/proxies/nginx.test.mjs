// nginx with the files of deploy/nginx.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { cases } from './cases.mjs';
import { send, substitute, upgrade } from './stack.mjs';

cases((stack, layout, ports) => stack.nginx(layout, ports), (fixture) => {
  it('loads the files without warnings', () => {
    assert.doesNotMatch(fixture.proxy.output(), /could not build|conflicting|deprecated|uninitialized/);
  });

  it('does not expose its internal locations', async () => {
    const cookie = fixture.cookieOf(await fixture.signIn(fixture.ADA));
    for (const target of ['/.hallpass/check', '/.hallpass/refused', '/.hallpass/signed-out', '/%2ehallpass/check']) {
      const headers = [...fixture.PROGRAM, cookie];
      const answer = await send(fixture.proxy.port, fixture.layout.app, target, { headers });
      assert.equal(answer.status, 404, target);
    }
  });

  it('works with HTTP/1.0, nginx\'s default for upstreams', async () => {
    const { stack, layout, name, BROWSER, PROGRAM, ADA, EVE, DEEP } = fixture;
    const old = await stack.nginx(name, {
      hallpass: fixture.hallpass.port, app: fixture.app.port,
      change: (text, file) => (file === 'hallpass-subrequest.conf' ? substitute(text, [
        [/proxy_http_version +1\.1;/g, ''], [/proxy_set_header +Connection +"";/g, ''],
      ]) : text),
    });
    const get = (host, target, headers) => send(old.port, host, target, { headers });
    const [ada, eve] = [await fixture.signIn(ADA), await fixture.signIn(EVE)];
    fixture.assertIdentity(await get(layout.app, DEEP, [...PROGRAM, fixture.cookieOf(ada)]), ADA);
    assert.equal((await get(layout.app, DEEP, BROWSER)).status, 302);
    assert.equal((await get(layout.app, DEEP, PROGRAM)).status, 401);
    assert.equal((await get(...layout.listed, [...BROWSER, fixture.cookieOf(eve)])).status, 403);
    await old.stop();
  });

  it('keeps an idle WebSocket open for longer than nginx does by default', async () => {
    const proxy = await fixture.stack.nginx(fixture.name, {
      hallpass: fixture.hallpass.port, app: fixture.app.port, http: 'proxy_read_timeout 1s; proxy_send_timeout 1s;',
    });
    const cookie = fixture.cookieOf(await fixture.signIn(fixture.ADA));
    const socket = await upgrade(proxy.port, fixture.layout.app, '/socket', [cookie], { idle: 2_500 });
    assert.equal(socket.status, 101);
    await proxy.stop();
  });

  it('answers 500, not 503, to an error of nginx itself', async () => {
    const proxy = await fixture.stack.nginx(fixture.name, { hallpass: fixture.hallpass.port, app: fixture.app.port });
    const cookie = fixture.cookieOf(await fixture.signIn(fixture.ADA));
    fs.rmSync(path.join(proxy.folder, 'client_body'), { recursive: true });
    const upload = { method: 'PUT', headers: [cookie], body: 'x'.repeat(1e6) };
    const answer = await send(proxy.port, fixture.layout.app, '/x', upload);
    assert.equal(answer.status, 500);
    assert.ok(!answer.text.includes('identity'), answer.text);
    await proxy.stop();
  });
});
