// The description to be read: nothing can be sent from here, and what is looked for is filtered.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  supportedSubmitMethods: [],
  validatorUrl: null,
});
