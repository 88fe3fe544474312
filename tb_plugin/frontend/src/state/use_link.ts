import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { onPermalink, readPermalink, writePermalink } from "../host/permalink";
import { type Link, readLink, writeLink } from "./link";

const WRITE_MS = 250;

/** The state that links keep: read from TensorBoard's address, written back a moment after each change. */
export function useLink(): [Link, (change: Partial<Link>) => void] {
  const [link, setLink] = useState<Link>(() => readLink(readPermalink()));
  const first = useRef(true);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return undefined;
    }
    const timer = setTimeout(() => writePermalink(writeLink(link)), WRITE_MS);
    return () => clearTimeout(timer);
  }, [link]);
  useEffect(() => {
    return onPermalink(() => {
      const found = readPermalink();
      if (Object.keys(found).length > 0) setLink(readLink(found));
    });
  }, []);
  const change = useCallback((part: Partial<Link>) => setLink((old) => ({ ...old, ...part })), []);
  return [link, change];
}
