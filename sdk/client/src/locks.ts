/** One at a time, in this tab and across the tabs of an origin. */

export class Lock {
  private last: Promise<unknown> = Promise.resolve();

  constructor(private readonly name: string) {}

  /** Run `body` while no other body with this lock runs. Without Web Locks, other tabs are not excluded. */
  run<Result>(body: () => Promise<Result>): Promise<Result> {
    const locked = async (): Promise<Result> => {
      const locks = globalThis.navigator?.locks;
      // The promise of `request` is that of the body.
      return locks === undefined ? body() : ((await locks.request(this.name, body)) as Result);
    };
    const result = this.last.then(locked, locked);
    this.last = result.catch(() => undefined);
    return result;
  }
}
