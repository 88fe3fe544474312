import { useEffect, useRef, useState } from "preact/hooks";
import { RequestError } from "../api/client";

/** An answer that is on its way, has come, or has failed. `data` stays while a newer one is fetched. */
export interface Loaded<T> {
  data: T | null;
  error: RequestError | null;
  /** The key that `data` belongs to. */
  key: string | null;
}

const asError = (error: unknown): RequestError =>
  error instanceof RequestError ? error : new RequestError(error instanceof Error ? error.message : String(error), -1);

/**
 * Loads anew whenever `key` changes, and what has failed whenever `nudge` does; answers that come too late are dropped.
 * A null key loads nothing.
 */
export function useLoaded<T>(key: string | null, load: () => Promise<T>, nudge: number = 0): Loaded<T> {
  const [state, setState] = useState<Loaded<T>>({ data: null, error: null, key: null });
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (state.error) setAttempt((count) => count + 1);
  }, [nudge]);
  useEffect(() => {
    if (key === null) {
      setState({ data: null, error: null, key: null });
      return undefined;
    }
    let current = true;
    load().then(
      (data) => current && setState({ data, error: null, key }),
      (error: unknown) => current && setState((old) => ({ data: old.key === key ? old.data : null, error: asError(error), key })),
    );
    return () => {
      current = false;
    };
  }, [key, attempt]);
  return state;
}

const POLL_MS = 3000;
const SLOW_MS = 10_000;

export interface Polled<T> {
  data: T | null;
  error: RequestError | null;
}

/** Asks again and again while `active`: every 3 s, every 10 s while nobody answers; `nudge` asks at once. */
export function usePolled<T>(load: () => Promise<T>, active: boolean, nudge: number, isSame: (a: T, b: T) => boolean): Polled<T> {
  const [state, setState] = useState<Polled<T>>({ data: null, error: null });
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    if (!active) return undefined;
    let timer = 0;
    let current = true;
    const again = (delay: number) => {
      if (current) timer = window.setTimeout(ask, delay);
    };
    const ask = () => {
      latest.current().then(
        (data) => {
          if (!current) return;
          setState((old) => (old.data !== null && old.error === null && isSame(old.data, data) ? old : { data, error: null }));
          again(POLL_MS);
        },
        (error: unknown) => {
          if (!current) return;
          setState((old) => ({ data: old.data, error: asError(error) }));
          again(SLOW_MS);
        },
      );
    };
    ask();
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [active, nudge]);
  return state;
}
