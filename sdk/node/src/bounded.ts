/** A map of at most `size` entries. When it is full, it drops one by the second-chance algorithm. */

export interface Usable {
  /** Whether a lookup has found the entry since the last search for one to drop. */
  used: boolean;
}

/** LRU would move an entry at each use, which costs more than the rest of the lookup. */
export class BoundedMap<Entry extends Usable> {
  readonly entries = new Map<string, Entry>();
  // The hand goes round. A search that began at the front each time would pass all holes that deletions leave there.
  private hand = this.entries.keys();

  constructor(
    private readonly size: number,
    private readonly onDrop: (key: string, entry: Entry) => void,
  ) {}

  get(key: string): Entry | undefined {
    return this.entries.get(key);
  }

  put(key: string, entry: Entry): void {
    while (this.entries.size >= this.size) {
      const candidate = this.next();
      if (candidate.entry.used) candidate.entry.used = false;
      else this.drop(candidate.key);
    }
    this.entries.set(key, entry);
  }

  drop(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    this.entries.delete(key);
    this.onDrop(key, entry);
  }

  clear(): void {
    this.entries.clear();
    this.hand = this.entries.keys();
  }

  private next(): { key: string; entry: Entry } {
    let step = this.hand.next();
    if (step.done) {
      this.hand = this.entries.keys();
      step = this.hand.next();
    }
    const key = step.value as string;
    return { key, entry: this.entries.get(key) as Entry };
  }
}
