/** Parsing a stream of server-sent events (HTML Living Standard, section 9.2). */

/** One event. `data`: the values of its `data` lines, joined by line feeds. */
export interface ServerSentEvent {
  name: string;
  data: string;
}

/** An event, or a line, exceeds the limit of the parser. */
export class EventTooLarge extends Error {}

/**
 * Cuts a stream into events. A chunk may end anywhere, inside a character or between CR and LF too.
 *
 * Ignores comments, unknown fields, `id` and `retry`, and events without a name. The parser deviates from the standard
 * in two points, so that a feed of changes loses none: broken characters throw a TypeError, and a named event without
 * data is returned too.
 */
export class EventParser {
  private readonly decoder = new TextDecoder("utf-8", { fatal: true }); // it also removes a byte order mark
  private line = ""; // the beginning of a line that has no end yet
  private afterCr = false; // a line feed that comes next belongs to this CR
  private name = "";
  private data: string[] = [];
  private dataLength = 0;

  constructor(private readonly maxEventLength: number) {}

  /** Return the events that this chunk completes. Throws EventTooLarge and TypeError. */
  *feed(chunk: Uint8Array): Generator<ServerSentEvent> {
    for (const line of this.lines(this.decoder.decode(chunk, { stream: true }))) {
      if (line !== "") {
        this.takeField(line);
      } else if (this.name !== "" || this.data.length > 0) {
        const event = { name: this.name, data: this.data.join("\n") };
        this.name = "";
        this.data = [];
        this.dataLength = 0;
        if (event.name !== "") yield event;
      }
    }
    if (this.line.length + this.dataLength > this.maxEventLength) throw new EventTooLarge("an event without an end");
  }

  private lines(chunk: string): string[] {
    if (chunk === "") return [];
    const text = this.afterCr && chunk.startsWith("\n") ? chunk.slice(1) : chunk;
    this.afterCr = chunk.endsWith("\r");
    const lines = text.split(/\r\n|\n|\r/); // the part before is not searched again
    lines[0] = this.line + lines[0];
    this.line = lines.pop() ?? "";
    return lines;
  }

  private takeField(line: string): void {
    const colon = line.indexOf(":"); // a comment is a field without a name
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") {
      this.name = value;
    } else if (field === "data") {
      this.data.push(value);
      this.dataLength += line.length;
      if (this.dataLength > this.maxEventLength) throw new EventTooLarge("an event without an end");
    }
  }
}
