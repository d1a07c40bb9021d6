// Says where the liburing inside the binary lies. This is what a run from source sees; the build replaces the module.

/** Path of the embedded library; undefined when run from source or built without it. */
export const liburingPath: string | undefined = undefined;
