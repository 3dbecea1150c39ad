// JupyterLab, which takes too long for tests/run: `tests/apps/install by-hand`, then
// `node --test tests/apps/by-hand/jupyterlab.mjs`.

import path from 'node:path';
import { ROOT } from '../../proxies/stack.mjs';
import { cases } from '../cases.mjs';
import { jupyter } from '../jupyter.mjs';

cases([{
  ...jupyter(path.join(ROOT, 'target/apps/by-hand/bin/jupyter-lab')),
  open: '/lab',
  use: (page) => page.locator('#jp-main-dock-panel').waitFor(),
}]);
