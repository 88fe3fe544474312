import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useSize } from "./size";

export const ROW_HEIGHT = 28;
const OVERSCAN = 8;

/** Rows of one height in a scrolled box: which of them to draw, and a way to bring one into view. */
export function useVirtual(count: number, rowHeight: number, headHeight: number) {
  const [ref, size] = useSize<HTMLDivElement>();
  const [top, setTop] = useState(0);
  const frame = useRef(0);
  const onScroll = useCallback(() => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => setTop(ref.current?.scrollTop ?? 0));
  }, []);
  useEffect(() => () => cancelAnimationFrame(frame.current), []);
  const room = Math.max(0, size.height - headHeight);
  const first = Math.max(0, Math.min(count, Math.floor(top / rowHeight) - OVERSCAN));
  const last = Math.min(count, Math.ceil((top + room) / rowHeight) + OVERSCAN);
  const reveal = useCallback(
    (index: number, place: "edge" | "middle" = "edge") => {
      const box = ref.current;
      if (!box) return;
      const inside = box.clientHeight - headHeight;
      const [start, end] = [index * rowHeight, (index + 1) * rowHeight];
      const [above, below] = [start < box.scrollTop, end > box.scrollTop + inside];
      if (!above && !below) return;
      if (place === "middle") box.scrollTop = start - inside / 2;
      else box.scrollTop = above ? start : end - inside;
      setTop(box.scrollTop);
    },
    [rowHeight, headHeight],
  );
  return { ref, onScroll, first, last, reveal, page: Math.max(1, Math.floor(room / rowHeight) - 1) };
}
