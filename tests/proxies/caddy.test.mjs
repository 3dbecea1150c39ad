// Caddy with the very files of deploy/caddy.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { cases } from './cases.mjs';
import { send } from './stack.mjs';

cases((stack, layout, ports) => stack.caddy(layout, ports), (here) => {
  it('strips whole families of names', async () => {
    const forged = ['X-Auth-Request-Anything', 'Remote-Anything', 'X-Remote-Anything', 'X-WEBAUTH-Anything',
      'X-Authentik-Anything', 'Tailscale-Anything', 'Cf-Access-Anything', 'X-Hallpass-Anything', 'X-Original-Anything',
      ...Array.from('!#$%&\'*+.^_`|~', (odd) => `X${odd}Own`)].map((name) => [name, 'mallory']);
    const cookie = here.cookieOf(await here.signIn(here.ADA));
    const answer = await send(here.proxy.port, here.layout.app, '/x',
      { headers: [...here.PROGRAM, cookie, ...forged, ['X-Own', 'the app\'s']] });
    here.assertIdentity(answer, here.ADA);
    assert.ok(!answer.text.includes('mallory') && answer.text.includes('the app\'s'), answer.text);
  });
});
