import { provider } from './provider.js';

provider.listen(Number(process.env.BENCH_PORT), '127.0.0.1');
