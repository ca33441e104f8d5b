import "uplot/dist/uPlot.min.css";
// A page with one dashboard: `?dashboard=UID&prometheus=URL`, and what Grafana has in an address: from, to, var-NAME.
import { createTheme, ThemeContext } from "@grafana/data";
import { GlobalStyles, PortalContainer } from "@grafana/ui";
import { createRoot } from "react-dom/client";
import { Page } from "./page";

const address = new URLSearchParams(location.search);
const theme = createTheme({ colors: { mode: address.get("theme") === "light" ? "light" : "dark" } });
document.body.style.background = theme.colors.background.canvas;

createRoot(document.getElementById("root")!).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <Page />
    <PortalContainer />
  </ThemeContext.Provider>,
);
