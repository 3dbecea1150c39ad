// nginx with the very files of deploy/nginx.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { cases } from './cases.mjs';
import { send, substitute } from './stack.mjs';

cases((stack, layout, ports) => stack.nginx(layout, ports), (here) => {
  it('keeps its own questions to itself', async () => {
    const cookie = here.cookieOf(await here.signIn(here.ADA));
    for (const target of ['/.hallpass/check', '/.hallpass/refused', '/%2ehallpass/check']) {
      const answer = await send(here.proxy.port, here.layout.app, target, { headers: [...here.PROGRAM, cookie] });
      assert.equal(answer.status, 404, target);
    }
  });

  it('works with the HTTP/1.0 that nginx speaks unless it is told otherwise', async () => {
    const { stack, layout, name, BROWSER, PROGRAM, ADA, EVE, DEEP } = here;
    const old = await stack.nginx(name, {
      hallpass: here.hallpass.port, app: here.app.port,
      change: (text, file) => (file.endsWith('server.conf') ? substitute(text, [
        [/proxy_http_version +1\.1;/g, ''], [/proxy_set_header +Connection +"";/g, ''],
      ]) : text),
    });
    const get = (host, target, headers) => send(old.port, host, target, { headers });
    const [ada, eve] = [await here.signIn(ADA), await here.signIn(EVE)];
    here.assertIdentity(await get(layout.app, DEEP, [...PROGRAM, here.cookieOf(ada)]), ADA);
    assert.equal((await get(layout.app, DEEP, BROWSER)).status, 302);
    assert.equal((await get(layout.app, DEEP, PROGRAM)).status, 401);
    assert.equal((await get(...layout.listed, [...BROWSER, here.cookieOf(eve)])).status, 403);
    await old.stop();
  });
});
