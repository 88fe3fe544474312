/** Keeps the last few answers by key: a report never changes once it is written. */
export class Cache<T> {
  private readonly kept = new Map<string, Promise<T>>();
  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  get(key: string, load: () => Promise<T>): Promise<T> {
    const known = this.kept.get(key);
    if (known) {
      this.kept.delete(key);
      this.kept.set(key, known);
      return known;
    }
    const fresh = load();
    this.kept.set(key, fresh);
    fresh.catch(() => this.kept.delete(key));
    const oldest = this.kept.keys().next();
    if (this.kept.size > this.limit && !oldest.done) this.kept.delete(oldest.value);
    return fresh;
  }
}
