/** Where the tokens are kept. */

/** One text. `get` returns null or undefined if there is none. The calls may return promises. */
export interface Storage {
  get(): Promise<string | null | undefined> | string | null | undefined;
  set(text: string): Promise<void> | void;
}

/** For as long as the page lives. Other tabs have sessions of their own. */
export function memoryStorage(): Storage {
  let kept: string | null = null;
  return {
    get: () => kept,
    set: (text) => void (kept = text),
  };
}

/**
 * IndexedDB, which all tabs of an origin share. Every script of the page can read it.
 *
 * `localStorage` will not do: a tab may read there what another tab has overwritten some milliseconds ago, and would then
 * refresh a second time.
 */
export function browserStorage(name = "authsvc"): Storage {
  let opened: Promise<IDBDatabase> | undefined;
  const open = (): Promise<IDBDatabase> => {
    opened ??= opening(name, () => (opened = undefined));
    return opened;
  };
  return {
    async get() {
      const texts = (await open()).transaction(TEXTS).objectStore(TEXTS);
      return (await promised(texts.get(name))) as string | undefined;
    },
    async set(text) {
      const transaction = (await open()).transaction(TEXTS, "readwrite");
      transaction.objectStore(TEXTS).put(text, name);
      await new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error ?? new Error("the browser stores nothing"));
      });
    },
  };
}

const TEXTS = "texts";

/** lost: called when the database has to be opened again, also if it could not be opened. */
function opening(name: string, lost: () => void): Promise<IDBDatabase> {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(TEXTS);
  const database = promised(request);
  database.then((found) => {
    found.onclose = lost;
    found.onversionchange = () => {
      found.close(); // the user deletes the data of this site
      lost();
    };
  }, lost);
  return database;
}

function promised<Result>(request: IDBRequest<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** The tokens of one session. expiresAt, refreshAt: by the clock of this device, in milliseconds. */
export interface Tokens {
  access: string;
  refresh?: string;
  sessionId: string;
  scope?: string;
  expiresAt: number;
  refreshAt: number;
}

/**
 * All that is kept. device: replaces the second factor at this device. revoke: refresh tokens of sessions which the user
 * has ended, and of which the service does not know yet.
 */
export interface State {
  tokens?: Tokens;
  device?: string;
  revoke?: string[];
}

export async function load(storage: Storage): Promise<State> {
  const text = await storage.get();
  if (!text) return {};
  try {
    return JSON.parse(text) as State;
  } catch {
    return {}; // what something else has written there is no session
  }
}
