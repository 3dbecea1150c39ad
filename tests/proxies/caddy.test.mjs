// Caddy with the very files of deploy/caddy.

import { cases } from './cases.mjs';

cases((stack, layout, ports) => stack.caddy(layout, ports));
