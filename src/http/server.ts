// The HTTP server of a node: made in two steps, since the broker needs the sink before it can be handed in.

import { type Config, limits } from "../config/mod.ts";
import { assert } from "../lib/assert.ts";
import { FatalError } from "../lib/fatal.ts";
import type { Logger } from "../lib/logger.ts";
import type { ProduceSink } from "../model/produce.ts";
import { Admission } from "./admission.ts";
import { Alarms } from "./alarms.ts";
import { createApp } from "./app.ts";
import { Authority } from "./auth.ts";
import { ConnectionLimit } from "./connection-limit.ts";
import { ErrorReplies } from "./errors.ts";
import { Lifecycle } from "./lifecycle.ts";
import type { BrokerPort, ListenerPort } from "./ports.ts";
import type { HttpRooms } from "./rooms.ts";
import { allRoutes } from "./routes.ts";
import { HttpStats, type TopicTraffic } from "./stats.ts";
import { Waiters } from "./waiters.ts";
import { WriteDeadlines } from "./write-deadlines.ts";

/** What the server is handed when everything behind it stands. */
export interface HttpBackend {
  readonly broker: BrokerPort;
  /** The text of `/metrics`. */
  readonly metricsText: () => Promise<string>;
  /** The text of `/metrics_ha`. */
  readonly haMetricsText: () => Promise<string>;
}

/** Milliseconds after which a stopping node answers writes that are still not confirmed, while it still can. */
const STOP_WRITES_MS = limits.STOP_GRACE_MS / 2;

/** What a switch of the backend may write. */
type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** Serves the API of one node. */
export class HttpServer {
  readonly #config: Config;
  readonly #logger: Logger;
  readonly #version: string;
  readonly #alarms = new Alarms();
  readonly #admission: Admission;
  readonly #errors: ErrorReplies;
  readonly #waiters: Waiters;
  readonly #deadlines: WriteDeadlines;
  readonly #lifecycle = new Lifecycle();
  readonly #stats = new HttpStats();
  readonly #findListener: (port: number) => ListenerPort | undefined;
  #connections: ConnectionLimit | undefined;
  #look: ReturnType<typeof setInterval> | undefined;
  #server: Bun.Server<unknown> | undefined;
  #rooms: Writable<HttpRooms> | undefined;

  constructor(options: {
    readonly config: Config;
    readonly logger: Logger;
    readonly version: string;
    /** Finds the socket that listens at a port; without it connections are neither counted nor bounded. */
    readonly findListener?: (port: number) => ListenerPort | undefined;
  }) {
    this.#config = options.config;
    this.#findListener = options.findListener ?? (() => undefined);
    this.#logger = options.logger.room("http");
    this.#version = options.version;
    this.#admission = new Admission(options.config.inflightBytesMax);
    const { docsUrl, cluster } = options.config;
    this.#errors = new ErrorReplies(docsUrl, cluster?.redirectStatus);
    this.#deadlines = new WriteDeadlines(this.#alarms, options.config.writeTimeoutMs);
    this.#waiters = new Waiters({
      admission: this.#admission,
      alarms: this.#alarms,
      errors: this.#errors,
    });
  }

  /** Where the broker sends how produces ended. */
  get produceSink(): ProduceSink {
    return this.#waiters;
  }

  /** What metrics read on scrape, in plain numbers. */
  get probe(): HttpProbe {
    const [stats, waiters, admission] = [this.#stats, this.#waiters, this.#admission];
    const deadlines = this.#deadlines;
    const connections = (): number => this.#connections?.connections ?? 0;
    return {
      get connections() {
        return connections();
      },
      get routes() {
        return stats.routes;
      },
      get tailReaders() {
        return stats.tailReaders;
      },
      get longPolls() {
        return stats.longPolls;
      },
      get streams() {
        return stats.streams;
      },
      get waitingWrites() {
        return waiters.size + deadlines.size;
      },
      get inflightBytes() {
        return admission.bytes;
      },
      traffic: (topicId) => stats.traffic(topicId),
    };
  }

  /**
   * Listens.
   * @returns where, with the port that a configured 0 became.
   * @throws FatalError `address_in_use` or `invalid_configuration` when it cannot.
   */
  async start(backend: HttpBackend): Promise<{ readonly port: number; readonly url: string }> {
    const config = this.#config;
    const rooms: Writable<HttpRooms> = {
      config,
      broker: backend.broker,
      metricsText: backend.metricsText,
      haMetricsText: backend.haMetricsText,
      logger: this.#logger,
      version: this.#version,
      alarms: this.#alarms,
      admission: this.#admission,
      authority: new Authority(config.tokens),
      errors: this.#errors,
      stats: this.#stats,
      waiters: this.#waiters,
      deadlines: this.#deadlines,
      lifecycle: this.#lifecycle,
    };
    this.#rooms = rooms;
    const server = listen(createApp(rooms, allRoutes(rooms)), rooms);
    this.#server = server;
    this.#lifecycle.keeper = (request) => server.timeout(request, 0);
    const port = server.port ?? config.httpPort;
    this.#boundConnections(port);
    this.#logger.info("listening", {
      host: config.httpHost,
      port,
      tls: config.tls !== undefined,
      connections_max: this.#connections?.connectionsMax,
    });
    return { port, url: server.url.href.replace(/\/$/, "") };
  }

  #boundConnections(port: number): void {
    const listener = this.#findListener(port);
    if (listener === undefined) return;
    const connections = new ConnectionLimit(listener, this.#logger);
    this.#connections = connections;
    this.#look = setInterval(() => connections.look(), limits.CONNECTION_LOOK_MS);
    this.#look.unref();
  }

  /** Serves from `backend` from now on: what was there before had nothing to give. */
  serve(backend: HttpBackend): void {
    const rooms = this.#rooms;
    assert(rooms !== undefined, "It listens already");
    rooms.broker = backend.broker;
    rooms.metricsText = backend.metricsText;
    rooms.haMetricsText = backend.haMetricsText;
  }

  /** Stops accepting, lets what is in flight finish for a while, then closes everything. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    clearInterval(this.#look);
    this.#lifecycle.stop();
    if (server !== undefined) {
      const graceful = server.stop(false);
      server.closeIdleConnections();
      const late = Promise.withResolvers<void>();
      const cancels = [
        this.#alarms.after(limits.STOP_GRACE_MS, late.resolve),
        this.#alarms.after(STOP_WRITES_MS, () => {
          this.#waiters.endAll();
          this.#deadlines.endAll();
        }),
      ];
      await Promise.race([graceful, late.promise]);
      for (const cancel of cancels) cancel();
      await server.stop(true);
    }
    this.#alarms.stop();
  }
}

/** Numbers of the room. */
export interface HttpProbe {
  readonly connections: number;
  readonly routes: HttpStats["routes"];
  readonly tailReaders: number;
  readonly longPolls: number;
  readonly streams: number;
  readonly waitingWrites: number;
  readonly inflightBytes: number;
  /** What went in and out of a topic through this node. */
  traffic(topicId: number): Readonly<TopicTraffic>;
}

function listen(app: ReturnType<typeof createApp>, rooms: HttpRooms): Bun.Server<unknown> {
  const { config, errors, logger } = rooms;
  try {
    app.listen({
      hostname: config.httpHost,
      port: config.httpPort,
      // Both protocols on one port; cleartext HTTP/2 by prior knowledge.
      http2: true,
      // Bun's own error page would show the inside of the program.
      development: false,
      idleTimeout: limits.CONNECTION_IDLE_S,
      // Up to twice the limit a body is refused in our own words, beyond it by the server's bare 413.
      maxRequestBodySize: config.bodyBytesMax * 2,
      reusePort: false,
      ...(config.tls !== undefined && {
        tls: { cert: Bun.file(config.tls.certPath), key: Bun.file(config.tls.keyPath) },
      }),
      error: (error: Error) => {
        logger.error("request_failed", { error: error.stack ?? error.message });
        return errors.reply({ code: "internal_error" });
      },
    });
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    const why = error instanceof Error ? error.message : String(error);
    throw new FatalError(
      // The host is not one of this machine, or a file of TLS has changed since it was looked at.
      code === "EADDRINUSE" ? "address_in_use" : "invalid_configuration",
      `Cannot listen on ${config.httpHost}:${config.httpPort}: ${why}`,
      { cause: error },
    );
  }
  if (app.server === null) {
    throw new FatalError(
      "address_in_use",
      `Cannot listen on ${config.httpHost}:${config.httpPort}`,
    );
  }
  return app.server as Bun.Server<unknown>;
}
