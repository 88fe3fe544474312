import { useEffect, useMemo, useState } from "preact/hooks";
import { requestLayout } from "../layout/layout";
import type { Placed } from "../layout/layered";
import { formatCount, formatLocation } from "../model/format";
import { type FlowEdge, type FlowNode, type FlowPath, findFlowPath, foldRuns, listPath, type PathStep } from "../model/flow";
import type { Report } from "../model/report";
import { Icon } from "./icons";
import { Place, Section } from "./pieces";

const DRAWING_LIMIT = 300;
const NODE_HEIGHT = 26;
const LONGEST_LABEL = 26;
/** Room at both sides for the word beside a cut. */
const SIDE = 24;

interface Props {
  report: Report;
  /** Layers to look for, nearest first: the drawing may know a container alone. */
  candidates: readonly ReadonlySet<string>[];
  /** Whether the step takes a gradient along the way. */
  used: boolean;
  onLayer: (path: string) => void;
}

/** The way of the gradient from the loss to a variable or layer: as a drawing, and as a list. */
export function GradientPath({ report, candidates, used, onLayer }: Props) {
  const path = useMemo(() => findNearest(report, candidates), [report, candidates]);
  const [opened, setOpened] = useState<ReadonlySet<number>>(new Set());
  useEffect(() => setOpened(new Set()), [path]);
  const folded = useMemo(() => foldRuns(path, opened), [path, opened]);
  if (path.state !== "ok") return <Section title="Gradient path">{<p class="muted">{WHY_NOT[path.state]}</p>}</Section>;
  const tooLarge = folded.nodes.length > DRAWING_LIMIT;
  return (
    <Section title="Gradient path" aside={<Outcome path={path} used={used} />}>
      {tooLarge ? (
        <p class="muted">{formatCount(folded.nodes.length)} nodes lie on the way: too many for a drawing. The shortest way is in the list.</p>
      ) : (
        <Drawing path={folded} onLayer={onLayer} onOpen={(id) => setOpened(new Set([...opened, id]))} />
      )}
      <details open={tooLarge}>
        <summary>The same path as a list</summary>
        <PathList steps={listPath(path)} onLayer={onLayer} />
      </details>
    </Section>
  );
}

function findNearest(report: Report, candidates: readonly ReadonlySet<string>[]): FlowPath {
  for (const layers of candidates) {
    const path = findFlowPath(report, layers);
    if (path.state !== "absent") return path;
  }
  return findFlowPath(report, new Set());
}

const WHY_NOT: Record<Exclude<FlowPath["state"], "ok">, string> = {
  none: "This report holds no drawing of the step.",
  absent: "The step does not use this layer in a place that the drawing knows.",
  // What a linear loss is given is in no op of the backward pass, of which the drawing is made.
  apart: "The drawing shows no way from the loss to this layer. It cannot show that of a loss which is linear in what the layer gives.",
};

function Outcome({ path, used }: { path: FlowPath; used: boolean }) {
  if (path.reaches && !used) return <span title="Nothing on the way stops a gradient; the step does not compute it.">open, not taken by the step</span>;
  return path.reaches ? (
    <span class="reaches">
      <Icon name="check" size={14} /> not cut
    </span>
  ) : (
    <span class="cut-word">
      <Icon name="scissors" size={14} /> cut on the way
    </span>
  );
}

/** A layer's label is its path: the drawing has room for its last part. */
function shortLabel(node: FlowNode): string {
  const label = node.kind === "layer" ? node.label.slice(node.label.lastIndexOf("/") + 1) || node.label : node.label;
  return label.length > LONGEST_LABEL ? `${label.slice(0, LONGEST_LABEL - 1)}…` : label || "(no name)";
}

const widthOf = (node: FlowNode): number => Math.max(56, shortLabel(node).length * 6.7 + (node.kind === "cut" ? 70 : 24));

interface DrawingProps {
  path: FlowPath;
  onLayer: (path: string) => void;
  onOpen: (id: number) => void;
}

function Drawing({ path, onLayer, onOpen }: DrawingProps) {
  const [placed, setPlaced] = useState<{ path: FlowPath; layout: Placed } | null>(null);
  useEffect(() => {
    let current = true;
    const nodes = path.nodes.map((node) => ({ id: node.id, width: widthOf(node), height: NODE_HEIGHT }));
    void requestLayout(nodes, path.edges).then((layout) => current && setPlaced({ path, layout }));
    return () => {
      current = false;
    };
  }, [path]);
  if (!placed) return <p class="muted">Drawing…</p>;
  const { layout, path: drawn } = placed;
  const [width, height] = [Math.ceil(layout.width) + 16 + 2 * SIDE, Math.ceil(layout.height) + 16];
  return (
    <div class="scroll drawing" tabIndex={0} role="region" aria-label="Drawing of the gradient path">
      <svg width={width} height={height} viewBox={`${-8 - SIDE} -8 ${width} ${height}`} role="group" aria-label="From the loss, on top, down to the variable">
        <defs>
          <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">
            <path d="M0 .8 7 4 0 7.2z" />
          </marker>
        </defs>
        {drawn.edges.map((edge, i) => (
          <Edge key={i} edge={edge} points={layout.edges[i] ?? []} alive={isAlive(drawn, edge)} />
        ))}
        {drawn.nodes.map((node, i) => (
          <Node key={node.id} node={node} x={layout.nodes[i]?.x ?? 0} y={layout.nodes[i]?.y ?? 0} onLayer={onLayer} onOpen={onOpen} />
        ))}
      </svg>
    </div>
  );
}

const isAlive = (path: FlowPath, edge: FlowEdge): boolean => edge.differentiable && path.nodes.find((node) => node.id === edge.source)?.reached === true;

function Edge({ edge, points, alive }: { edge: FlowEdge; points: readonly { x: number; y: number }[]; alive: boolean }) {
  if (points.length < 2) return null;
  const middle = points[Math.floor((points.length - 1) / 2)] as { x: number; y: number };
  const after = points[Math.floor((points.length - 1) / 2) + 1] as { x: number; y: number };
  const [x, y] = [(middle.x + after.x) / 2, (middle.y + after.y) / 2];
  return (
    <g class={edge.differentiable ? (alive ? "edge" : "edge dead") : "edge cut"}>
      <path d={curve(points)} marker-end="url(#tip)" />
      {!edge.differentiable && (
        <g class="cut-mark" transform={`translate(${x} ${y})`}>
          <g transform="translate(6 -7) scale(.88)">
            <Icon name="scissors" />
          </g>
          <text x={24} y={4}>
            cut
          </text>
        </g>
      )}
    </g>
  );
}

/** A smooth line through the points, upright at each of them. */
function curve(points: readonly { x: number; y: number }[]): string {
  return points.reduce((path, point, i) => {
    const before = points[i - 1];
    if (!before) return `M${point.x} ${point.y}`;
    const half = (before.y + point.y) / 2;
    return `${path}C${before.x} ${half} ${point.x} ${half} ${point.x} ${point.y}`;
  }, "");
}

interface NodeProps {
  node: FlowNode;
  x: number;
  y: number;
  onLayer: (path: string) => void;
  onOpen: (id: number) => void;
}

function Node({ node, x, y, onLayer, onOpen }: NodeProps) {
  const width = widthOf(node);
  const classes = ["node", `kind-${node.kind}`, node.reached ? "" : "dead", node.goal ? "goal" : "", node.folded.length > 0 ? "folded" : ""];
  const open = () => (node.folded.length > 0 ? onOpen(node.id) : node.layer && onLayer(node.layer));
  const asButton =
    node.folded.length > 0
      ? {
          role: "button" as const,
          tabindex: 0,
          "aria-label": `Show the ${node.label} between`,
          onKeyDown: (event: KeyboardEvent) => {
            if (event.key !== "Enter" && event.key !== " ") return;
            event.preventDefault();
            open();
          },
        }
      : {};
  return (
    <g class={classes.join(" ")} transform={`translate(${x} ${y})`} onClick={open} {...asButton}>
      <title>{[node.label, node.opType, node.op, node.location && formatLocation(node.location)].filter(Boolean).join("\n")}</title>
      <rect x={-width / 2} y={-NODE_HEIGHT / 2} width={width} height={NODE_HEIGHT} rx={node.kind === "loss" || node.kind === "input" ? 13 : 4} />
      {node.kind === "cut" && (
        <g transform={`translate(${-width / 2 + 8} -7) scale(.88)`}>
          <Icon name="scissors" />
        </g>
      )}
      <text x={node.kind === "cut" ? 10 : 0} y={4} text-anchor="middle">
        {node.kind === "cut" ? `cut: ${shortLabel(node)}` : shortLabel(node)}
      </text>
    </g>
  );
}

function PathList({ steps, onLayer }: { steps: readonly PathStep[]; onLayer: (path: string) => void }) {
  return (
    <ol class="path-list">
      {steps.map(({ node, cut, others }) => (
        <li key={node.id} class={node.reached ? "" : "dead"}>
          {cut && (
            <div class="cut-word">
              <Icon name="scissors" size={14} /> cut: no gradient passes here
            </div>
          )}
          {node.layer && node.kind === "layer" ? (
            <button type="button" class="link" onClick={() => onLayer(node.layer as string)}>
              {node.label || "(no name)"}
            </button>
          ) : (
            <span>{node.label || "(no name)"}</span>
          )}{" "}
          <span class="muted">
            {node.kind}
            {node.goal ? ", this one" : ""}
            {node.reached ? "" : ", no gradient"}
            {others > 0 ? `, ${others} more way${others > 1 ? "s" : ""} in` : ""}
          </span>
          {node.location && (
            <div>
              <Place location={node.location} />
            </div>
          )}
        </li>
      ))}
    </ol>
  );
}
