// A file of its own, as the page's Content-Security-Policy allows no script within it.
// validatorUrl: by default Swagger UI asks another host to judge the description.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
