declare module "avro-js/lib/schemas.js" {
  const schemas: {
    createType(schema: unknown): {
      toBuffer(value: unknown): Uint8Array;
      toString(value: unknown): string;
    };
  };
  export default schemas;
}
