// Caddy with the files of deploy/caddy.

import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { it } from 'node:test';
import { cases } from './cases.mjs';
import { idToken, send } from './stack.mjs';

cases((stack, layout, ports) => stack.caddy(layout, ports), (fixture) => {
  it('removes whole families of headers', async () => {
    const forged = ['X-Auth-Request-Anything', 'Remote-Anything', 'X-Remote-Anything', 'X-WEBAUTH-Anything',
      'X-Authentik-Anything', 'Tailscale-Anything', 'Cf-Access-Anything', 'X-Hallpass-Anything', 'X-Original-Anything',
      ...Array.from('!#$%&\'*+.^_`|~', (odd) => `X${odd}Own`)].map((name) => [name, 'mallory']);
    const cookie = fixture.cookieOf(await fixture.signIn(fixture.ADA));
    const answer = await send(fixture.proxy.port, fixture.layout.app, '/x',
      { headers: [...fixture.PROGRAM, cookie, ...forged, ['X-Own', 'the app\'s']] });
    fixture.assertIdentity(answer, fixture.ADA);
    assert.ok(!answer.text.includes('mallory') && answer.text.includes('the app\'s'), answer.text);
  });

  it('forwards a sign-in over HTTP/2 without a length', async () => {
    const { layout, proxy } = fixture;
    const session = http2.connect(`https://127.0.0.1:${proxy.port}`,
      { servername: layout.auth, rejectUnauthorized: false });
    const request = session.request({
      ':method': 'POST', ':path': '/auth/signin', ':authority': layout.auth, 'content-type': 'application/json',
    });
    request.write('{"id_token":"');
    request.write(idToken(fixture.ADA));
    request.end('"}');
    let [status, text] = [0, ''];
    request.on('response', (headers) => (status = headers[':status'])).on('data', (data) => (text += data));
    await new Promise((resolve, reject) => request.on('end', resolve).on('error', reject));
    session.close();
    assert.equal(status, 200, text);
    assert.equal(JSON.parse(text).user.sub, fixture.ADA.sub);
  });
}, { http2: true });
