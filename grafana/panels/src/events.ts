import { EventBusSrv } from "@grafana/data";

/** Carries the pointer's time from one chart to the others. */
export const EVENTS = new EventBusSrv();
