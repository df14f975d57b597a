"use strict";

// A token stays in the tab it was given to: nothing is stored, and nothing leaves this origin.
window.explorer = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#explorer",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  defaultModelRendering: "model",
  displayRequestDuration: true,
  persistAuthorization: false,
  requestSnippetsEnabled: true,
  showExtensions: false,
  tryItOutEnabled: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
